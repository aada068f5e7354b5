"""No agent ever takes an illegal action, nor values what follows by one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax import networks, updates
from rljax.agents import sac
from rljax.envs import probes
from rljax.envs.teams import as_team
from rljax.ops import ILLEGAL
from rljax.replay import packing
from rljax.types import MaskedObs

ENV = probes.LegalActions()
SIZES = {"num_envs": 8, "rollout_length": 6, "total_env_steps": 480}
small = {"hidden": (8,)}
minibatches = {**small, "num_minibatches": 2, "num_epochs": 1}
replayed = {**small, "buffer_size": 96, "batch_size": 16, "warmup_env_steps": 96}
AGENTS = {
    "ppo": partial(rljax.ppo, **minibatches),
    "ppo gru": partial(rljax.ppo, network="gru", **minibatches),
    "a2c": partial(rljax.a2c, **small),
    "reinforce": partial(rljax.reinforce, **small),
    "impala": partial(rljax.impala, policy_lag=1, **small),
    "dqn": partial(rljax.dqn, double=True, **replayed),
    "dqn boltzmann": partial(rljax.dqn, exploration="boltzmann", **replayed),
    "dqn ez_greedy": partial(rljax.dqn, exploration="ez_greedy", **replayed),
    "rainbow": partial(rljax.rainbow, v_min=0.0, v_max=3.0, **replayed),
    "apex": partial(rljax.apex, **replayed),
    "r2d2": partial(rljax.r2d2, sequence_length=6, overlap=0, burn_in=2, **replayed),
    "pqn": partial(rljax.pqn, **minibatches),
    "sac": partial(rljax.sac, **replayed),
    "maddpg": lambda env, **sizes: rljax.maddpg(as_team(env), **sizes, **replayed),
    "muzero": partial(rljax.muzero, num_simulations=8, n_step=3, unroll_steps=2, **replayed),
    "muzero gumbel": partial(
        rljax.muzero, search="gumbel", num_simulations=8, n_step=3, unroll_steps=2, **replayed
    ),
    "q_learning": rljax.q_learning,
    "sarsa": rljax.sarsa,
    "expected_sarsa": rljax.expected_sarsa,
    "double_q_learning": rljax.double_q_learning,
    "q_lambda": rljax.q_lambda,
    "dyna_q_plus": rljax.dyna_q_plus,
    "prioritized_sweeping": rljax.prioritized_sweeping,
}
QUICK = ("ppo", "dqn", "q_learning")
SLOW = (
    "ppo gru",
    "a2c",
    "dqn boltzmann",
    "dqn ez_greedy",
    "apex",
    "rainbow",
    "muzero",
    "muzero gumbel",
    "double_q_learning",
)
"""Rows for which another one stands."""
PLANNERS = ["dyna_q_plus", "prioritized_sweeping"]


@pytest.mark.parametrize(
    "name",
    [
        n
        if n in QUICK
        else pytest.param(n, marks=pytest.mark.slow if n in SLOW else pytest.mark.long)
        for n in AGENTS
    ],
)
def test_illegal_actions_are_never_taken(name):
    agent = AGENTS[name](ENV, **SIZES)
    state, step = jit(agent.init)(jax.random.key(0)), jit(agent.step)
    if agent.warmup_env_steps:
        replay = state.worker.replay
        stored = packing.unpack(replay.layout, replay.storage)
        assert jnp.take_along_axis(stored.obs.legal, stored.action[..., None], -1).all()
        assert set(np.unique(stored.action)) == {0, 1, 2, 3}
    for _ in range(3):
        state, metrics = step(state)
        # Illegal actions pay 10.
        assert 0 <= metrics["charts/episodic_return"] <= ENV.length
        assert all(np.isfinite(x) for x in metrics.values())
    for deterministic in (True, False):
        played = rljax.evaluate(agent, state, jax.random.key(1), 64, deterministic)
        assert (played.returns <= ENV.length).all()


@pytest.mark.parametrize(
    "name", PLANNERS + ["q_learning", "expected_sarsa", "double_q_learning", "q_lambda"]
)
@pytest.mark.long
def test_a_table_never_bootstraps_from_an_illegal_action(name):
    """Cells of illegal actions keep the 100 that they begin with, and nobody hears of it."""
    factory = getattr(rljax, name)
    hparams = factory.Hparams(lr=0.5, gamma=0.9, epsilon_end=0.2)
    agent = factory(ENV, num_envs=16, total_env_steps=30_000, initial_value=100.0, hparams=hparams)
    state, _ = rljax.train(agent, jax.random.key(0))
    table = np.asarray(state.learner.params)
    table = table.mean(0) if table.ndim == 3 else table
    best = [1 + 0.9 + 0.81, 1 + 0.9, 1.0]
    if name != "expected_sarsa":
        np.testing.assert_allclose([table[0, 0], table[1, 1], table[2, 0]], best, rtol=0.02)
    assert table[0, 0] < 3 and table[0, 1] == 100 and table[1, 0] == 100


@pytest.mark.parametrize("head", ["scalar", "c51", "qr", "iqn"])
@pytest.mark.parametrize("policy", ["greedy", "double", "expected", "taken"])
@pytest.mark.long
def test_targets_assume_legal_actions(head, policy, make_batch):
    """With an illegal action that is worth 1e6, targets are those of the best legal one."""
    rng = np.random.default_rng(0)
    value = networks.value_head(head, num_atoms=5, v_min=0.0, v_max=9.0)
    values = jnp.array([3.0, 1e6, 5.0, 1e6])

    def estimate(params, obs, carry, key):
        known = jnp.broadcast_to(values, (*obs.obs.shape, 4))
        if head == "scalar":
            return known, carry
        many = jnp.broadcast_to(known[..., None], (*known.shape, 5))
        if head == "iqn":
            return networks.Quantiles(many, jnp.zeros((*obs.obs.shape, 5))), carry
        if head == "c51":  # certain of the atom 0, 9/4, ... that the action's place says
            place = jnp.array([1, 4, 2, 4])
            atom = jnp.where(jnp.arange(5) == place[:, None], 0.0, -1e3)
            return jnp.broadcast_to(atom, (*obs.obs.shape, 4, 5)), carry
        return many, carry

    q = networks.QNetwork(networks.Network(lambda key: (), estimate), value)
    legal = jnp.broadcast_to(jnp.array([True, False, True, False]), (3, 2, 4))
    obs = MaskedObs(jnp.array(rng.integers(0, 3, (3, 2))), legal)
    batch = make_batch(3, 2, obs=obs, next_obs=obs, reward=jnp.ones((3, 2)))
    batch = batch.annotate(discount=jnp.full((3, 2), 0.5), last=jnp.array([[0, 0], [1, 1], [2, 2]]))

    def explore(found):
        return rljax.ops.epsilon_greedy(found, 0.0)

    next_policy = {
        "greedy": updates.greedy,
        "double": updates.double,
        "expected": updates.expected(explore),
        "taken": updates.taken(explore),
    }[policy]
    if policy == "taken":
        batch = batch.replace(action=jnp.full((3, 2), 2))
    update = updates.td_target(q, next_policy)
    target = update.apply((), (), batch, jax.random.key(0))[2].extras["target"]
    expected = {"scalar": 1 + 0.5 * 5.0, "qr": 1 + 0.5 * 5.0, "iqn": 1 + 0.5 * 5.0}
    if head == "c51":
        mean = jnp.sum(target * jnp.linspace(0.0, 9.0, 5), -1)
        np.testing.assert_allclose(mean, 1 + 0.5 * 4.5, rtol=1e-5)
    else:
        np.testing.assert_allclose(target, expected[head], rtol=1e-6)


@pytest.mark.long
def test_policies_give_illegal_actions_no_probability_entropy_or_gradient():
    logits, legal = jnp.array([0.3, 2.0, -0.5, 1.0]), jnp.array([True, False, True, False])

    def of(logits):
        return networks.Categorical(rljax.ops.only_legal(logits, legal))

    kept = networks.Categorical(logits[jnp.array([0, 2])])
    masked = of(logits)
    np.testing.assert_allclose(masked.entropy(), kept.entropy(), rtol=1e-6)
    np.testing.assert_allclose(masked.log_prob(jnp.int32(2)), kept.log_prob(jnp.int32(1)), 1e-6)
    assert masked.kl(of(logits + 1.0)) < 1e-6 and masked.mode() == 0
    assert set(np.asarray(masked.sample(jax.random.key(0)).ravel())) <= {0, 2}
    for function in (
        lambda x: of(x).entropy(),
        lambda x: of(x).log_prob(jnp.int32(0)),
        lambda x: of(x).kl(masked),
    ):
        gradient = jax.grad(function)(logits)
        assert np.isfinite(gradient).all() and (gradient[~legal] == 0).all()
    nothing = networks.Categorical(rljax.ops.only_legal(logits, jnp.zeros(4, bool)))
    assert np.isfinite(nothing.entropy()) and (nothing.logits == ILLEGAL).all()


def test_random_actions_are_those_that_are_legal():
    q = jnp.array([[1.0, ILLEGAL, 3.0, ILLEGAL], [ILLEGAL, 2.0, ILLEGAL, ILLEGAL]])
    expected = [[0.2, 0.0, 0.8, 0.0], [0.0, 1.0, 0.0, 0.0]]
    np.testing.assert_allclose(rljax.ops.epsilon_greedy(q, 0.4), expected, rtol=1e-6)
    random = rljax.actors.random_policy(ENV.action_space)
    legal = jnp.tile(q > ILLEGAL, (500, 1))
    action, extras, _ = random((), MaskedObs(jnp.zeros(1000, int), legal), (), jax.random.key(0))
    assert jnp.take_along_axis(legal, action[:, None], -1).all()
    np.testing.assert_allclose(extras["log_prob"][:2], [-np.log(2), 0.0], atol=1e-6)
    counts = np.bincount(action[::2], minlength=4)
    assert 200 < counts[0] < 300


def test_the_entropy_that_sac_aims_at_is_a_part_of_that_of_legal_actions():
    ac = networks.actor_and_critics(ENV, hidden=(4,), value=networks.scalar("squared"))
    target = sac.target_entropy(ac, sac.Hparams(target_entropy_fraction=0.5))
    legal = jnp.arange(4) < jnp.array([1, 2, 3, 4])[:, None]
    expected = 0.5 * np.log([1, 2, 3, 4])
    np.testing.assert_allclose(target(MaskedObs(jnp.zeros(4, int), legal)), expected, rtol=1e-6)
    np.testing.assert_allclose(target(jnp.zeros(4, int)), expected[-1], rtol=1e-6)


LEGAL = jnp.array([[[True, False, True, False]], [[False, True, False, True]]])  # [L, N, A]


def seen(*times: int) -> MaskedObs:
    """Observations [L, 1] of these times, with their masks."""
    return MaskedObs(jnp.array(times)[:, None], LEGAL[jnp.array(times) % 2])


@pytest.mark.long
def test_a_memory_keeps_to_the_mask_over_a_whole_sequence():
    ac = networks.actor_critic(ENV, "gru", (4,))
    params, carry = ac.net.init(jax.random.key(0)), ac.net.initial_carry((1,))
    done = jnp.zeros((2, 1), bool)
    (logits, _), _ = networks.unroll(ac.net, params, seen(0, 1), carry, done)
    np.testing.assert_array_equal(logits == ILLEGAL, ~LEGAL)


@pytest.mark.long
def test_values_that_a_memory_assumes_next_are_of_legal_actions(make_batch):
    head = networks.scalar("squared")
    q = networks.q_network(ENV, "gru", (4,), head=head, sequences=True)
    fields = {"obs": seen(0, 1), "next_obs": seen(1, 2)}
    batch = make_batch(2, 1, {"carry": jnp.zeros((1, 1, 4))}, **fields)
    update = updates.next_estimates(q)
    _, _, batch, _ = update.apply(q.net.init(jax.random.key(0)), (), batch, jax.random.key(1))
    expected = ~fields["next_obs"].legal
    np.testing.assert_array_equal(batch.extras["next_values"] == ILLEGAL, expected)


@pytest.mark.long
def test_first_priorities_bootstrap_from_legal_actions(make_batch):
    q = networks.with_target(networks.q_network(ENV, "mlp", (4,), head=networks.scalar("squared")))
    obs, next_obs = seen(0, 1), seen(1, 2)
    values = jnp.where(obs.legal, 1.0, 1e6)
    batch = make_batch(2, 1, {"action_values": values}, obs=obs, next_obs=next_obs)
    update = updates.initial_priorities(q, 0.9)
    _, _, batch, _ = update.apply(q.net.init(jax.random.key(0)), (), batch, jax.random.key(1))
    # The first step took action 0, worth 1, and led to legal values of 1.
    np.testing.assert_allclose(batch.extras["priority"][0], 0.1, rtol=1e-5)
