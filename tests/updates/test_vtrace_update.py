"""The update `vtrace`: what it makes of a rollout, and what it leaves as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import different_leaves

import rljax
from rljax import networks, ops, updates
from rljax.actors import policy_actor, rollout, start
from rljax.envs import probes
from rljax.networks import reset_carry
from rljax.types import MissingField

GAMMA, LAMBDA = 0.9, 0.8
N, T = 4, 12
KEYS = jax.random.split(jax.random.key(0), 5)


def varied(params, key):
    """Parameters with noise, so that policies differ by more than fresh ones do."""
    return jax.tree.map(lambda x: x + 0.5 * jax.random.normal(key, x.shape), params)


class Case:
    """A rollout [T, N] of one set of parameters, and another set that learns from it."""

    def __init__(self, env, **options):
        self.ac = networks.actor_critic(env, hidden=(8,), **options)
        actor, net = policy_actor(self.ac), self.ac.net
        parameters = jax.jit(lambda key: varied(net.init(key), key))
        self.behaviour, self.params = (parameters(key) for key in KEYS[:2])
        worker = start(env, actor.initial_carry((N,)), N, KEYS[2])

        def reset(carry, done):
            return reset_carry(actor, carry, done)

        _, self.batch = jax.jit(
            lambda: rollout(env, self.ac.policy, reset, self.behaviour, worker, KEYS[3], T)
        )()

    def apply(self, update: updates.Update, params=None):
        params = self.params if params is None else params

        def applied(params, batch, key):
            return update.apply(params, update.init(params, key), batch, key)

        return jax.jit(applied)(params, self.batch, KEYS[4])

    def annotated(self, params=None, **clips):
        _, _, batch, metrics = self.apply(updates.vtrace(self.ac, GAMMA, LAMBDA, **clips), params)
        return batch, metrics


@pytest.fixture(
    scope="module",
    params=[
        "mlp truncated",
        pytest.param("gru terminated", marks=pytest.mark.long),
        pytest.param("continuous", marks=pytest.mark.long),
    ],
)
def case(request) -> Case:
    match request.param:
        case "mlp truncated":
            return Case(probes.ConstantReward())
        case "gru terminated":
            return Case(probes.Recall(), kind="gru")
        case _:
            return Case(probes.ContinuousTarget())


def expected(case: Case, **clips):
    """Ratios, targets and advantages from the parts, step by step.

    Who learns begins with what is stored with the first step. What a step led to is valued by
    itself, with what the policy that acted carried, but not where the episode goes on.
    """
    net = case.ac.net

    @jax.jit
    def parts(params, batch):
        stored, steps = batch.extras["carry"], []
        carry = jax.tree.map(lambda x: x[0], stored)
        for t in range(T):
            of_step, carry = net.apply(params, batch.obs[t], carry, None)
            carry = reset_carry(net, carry, batch.done[t])
            steps.append(of_step)
        outputs, value = jax.tree.map(lambda *x: jnp.stack(x), *steps)
        _, after = net.apply(params, batch.obs, stored, None)
        next_value = case.ac.value(params, batch.next_obs, after)[0]
        goes_on = ~batch.done[:-1]
        next_value = next_value.at[:-1].set(jnp.where(goes_on, value[1:], next_value[:-1]))
        log_prob = case.ac.head.distribution(outputs).log_prob(batch.extras["raw_action"])
        log_ratio = log_prob - batch.extras["log_prob"]
        ends = batch.terminated, batch.truncated
        return log_ratio, *ops.vtrace(
            batch.reward, value, next_value, *ends, log_ratio, GAMMA, LAMBDA, **clips
        )

    return tuple(map(np.asarray, parts(case.params, case.batch)))


CLIPS = [
    {"rho_clip": 1.5, "c_clip": 0.5},
    {"rho_clip": 0.87, "pg_rho_clip": 2.0},
    {"weighted": False},
]


@pytest.mark.parametrize("clips", CLIPS)
def test_it_is_the_op_on_values_and_log_probabilities_of_who_learns(case, clips):
    log_ratio, target, advantage = expected(case, **clips)
    assert np.std(log_ratio) > 0.05
    batch, metrics = case.annotated(**clips)
    np.testing.assert_allclose(batch.extras["target"], target, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch.extras["advantage"], advantage, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["losses/rho"], np.exp(log_ratio).mean(), rtol=1e-5)
    fraction = (np.exp(log_ratio) > clips.get("rho_clip", 1.0)).mean()
    np.testing.assert_allclose(metrics["losses/rho_clipped"], fraction, atol=0.03)


def test_the_log_probability_of_who_acted_stays_and_so_does_the_rest_of_the_batch(case):
    batch, _ = case.annotated()
    kept = {name: x for name, x in batch.extras.items() if name in case.batch.extras}
    assert batch.extras.keys() - kept.keys() == {"value", "advantage", "target"}
    assert not different_leaves(batch.replace(extras=kept), case.batch.replace(extras=kept))
    assert not different_leaves(kept, dict(case.batch.extras))


@pytest.mark.parametrize("clip", [1.0, 4.0])
def test_on_policy_it_is_gae_and_no_ratio_is_clipped(case, clip):
    _, _, plain, _ = case.apply(updates.gae(case.ac.value, GAMMA, LAMBDA), case.behaviour)
    batch, metrics = case.annotated(case.behaviour, rho_clip=clip, c_clip=clip)
    for field in ("value", "advantage", "target"):
        np.testing.assert_allclose(batch.extras[field], plain.extras[field], rtol=1e-4, atol=1e-5)
    assert metrics["losses/rho_clipped"] == 0
    np.testing.assert_allclose(metrics["losses/rho"], 1, rtol=1e-5)


def learnt_value(correction: str) -> float:
    """What a critic learns of a bandit whose second arm pays 1, from a policy that seldom pulls it.

    The policy that learns always pulls it.
    """

    def behaviour(params, obs, carry, key):
        raw = jax.random.bernoulli(key, 0.2, obs.shape[:1]).astype(jnp.int32)
        return raw, {"raw_action": raw, "log_prob": jnp.log(jnp.where(raw == 1, 0.2, 0.8))}, carry

    def apply(params, obs, carry, key):
        outputs = jnp.broadcast_to(jnp.array([-20.0, 20.0]), (*obs.shape[:-1], 2))
        return (outputs, jnp.broadcast_to(params, obs.shape[:-1])), carry

    class Bandit:
        name = "Bandit"
        observation_space = rljax.envs.spaces.Box(0.0, 1.0, (1,))
        action_space = rljax.envs.spaces.Discrete(2)

        def reset(self, key):
            return (), jnp.zeros(1)

        def step(self, key, state, action):
            return (), jnp.zeros(1), 1.0 * action, True, False

    env = Bandit()
    net = networks.Network(lambda key: jnp.float32(0), apply)
    ac = networks.ActorCritic(net, networks.head(env.action_space))
    worker = start(env, (), 64, KEYS[0])
    _, batch = rollout(env, behaviour, lambda carry, done: carry, (), worker, KEYS[1], 64)
    made = {
        "vtrace": updates.vtrace(ac, GAMMA, rho_clip=10.0),
        "none": updates.gae(ac.value, GAMMA, 1.0),
    }[correction]
    _, _, batch, _ = made.apply(jnp.float32(0), (), batch, KEYS[2])
    return float(batch.extras["target"].mean())


@pytest.mark.parametrize("correction, value", [("vtrace", 1.0), ("none", 0.2)])
def test_it_learns_the_value_of_the_policy_that_learns_and_not_of_the_one_that_acted(
    correction, value
):
    assert learnt_value(correction) == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize("field", ["carry", "raw_action", "log_prob"])
def test_a_field_that_nobody_recorded_is_named(field):
    case = Case(probes.ConstantReward())
    extras = {name: x for name, x in case.batch.extras.items() if name != field}
    case.batch = case.batch.replace(extras=type(case.batch.extras)(extras))
    with pytest.raises(MissingField, match=f"update vtrace reads extras\\['{field}'\\]"):
        case.apply(updates.chain(updates.vtrace(case.ac, GAMMA)))
