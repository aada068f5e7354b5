"""Options as the paper has them, gone with their episode; an epsilon for each environment."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from scipy import special, stats

import rljax
from rljax import collectives
from rljax.actors import Exploration, exploring_actor, ez_greedy, recording_values
from rljax.actors.explorations import annealed_epsilon, fixed_epsilons, greedy, value_actor
from rljax.actors.explorations import with_noise_of_each_environment as with_noise
from rljax.actors.options import LONGEST, Option
from rljax.actors.rollouts import rollout, start
from rljax.agents.dqn import Hparams
from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.networks import Network, QNetwork, q_network, reset_carry, value_head
from rljax.types import Actor

N, A = 20_000, 3
BEST = -1  # no option can draw it


def best(params, obs, carry, key=None):
    return jnp.full(obs.shape, BEST), {}, carry


def best_mode(params, obs, carry):
    return jnp.full(obs.shape, BEST), carry


actor = ez_greedy(
    Actor(lambda key: (), lambda hparams, progress: best, lambda hparams: best_mode),
    annealed_epsilon,
    spaces.Discrete(A),
)
Q2 = jnp.array([[0.0, 1.0]])
NOW = jnp.float32(0.3)  # of a run, where a constant epsilon does not care


def constant(epsilon: float, exponent: float = 2.0) -> Hparams:
    return Hparams(epsilon_start=epsilon, epsilon_end=epsilon, duration_exponent=exponent)


def actions(epsilons, exponent: float = 2.0) -> np.ndarray:
    """What N fresh environments do [T, N] under each epsilon [T] in turn."""

    def step(option, inputs):
        epsilon, key = inputs
        act = actor.policy(constant(epsilon, exponent), NOW)
        action, _, option = act((), jnp.zeros(N), option, key)
        return option, action

    keys = jax.random.split(jax.random.key(0), len(epsilons))
    inputs = (jnp.float32(epsilons), keys)
    return np.asarray(jax.lax.scan(step, actor.initial_carry((N,)), inputs)[1])


def goodness(found, probabilities) -> float:
    """The p-value of counts under probabilities."""
    return stats.chisquare(found, np.asarray(probabilities) * np.sum(found)).pvalue


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.5])
def test_an_option_repeats_one_uniform_action_for_a_zeta_distributed_time(exponent):
    # All begin at once, and none after that: whatever is not the best is the first option.
    action = actions([1.0] + [0.0] * 5, exponent)
    repeats = action != BEST
    assert (repeats[1:] <= repeats[:-1]).all()
    assert (action == action[0])[repeats].all()
    chances = stats.zipfian.pmf(np.arange(1, 6), exponent, LONGEST)
    lengths = np.bincount(repeats.sum(axis=0), minlength=7)[1:]
    assert goodness(lengths, [*chances, 1 - chances.sum()]) > 1e-3
    for first in (action[0], action[0, repeats[1]]):  # of all, and of those that go on
        assert goodness(np.bincount(first, minlength=A), [1 / A] * A) > 1e-3


def test_options_begin_with_probability_epsilon_where_none_is_in_force():
    first, second = actions([0.3, 0.3])
    idle, same, greedy = first == BEST, second == first, second == BEST
    assert goodness([np.sum(idle & same), np.sum(idle & ~same)], [0.7, 0.3]) > 1e-3
    # Of the others, those that took one step may begin again, one in A times with the same action.
    over = stats.zipfian.pmf(1, 2.0, LONGEST)
    found = [np.sum(~idle & x) for x in (same, greedy, ~same & ~greedy)]
    other = 0.3 * over * (A - 1) / A
    assert goodness(found, [1 - 0.7 * over - other, 0.7 * over, other]) > 1e-3


def test_epsilon_is_annealed():
    hparams = Hparams(epsilon_start=0.8, epsilon_end=0.2, exploration_fraction=0.5)
    for progress, epsilon in [(0.0, 0.8), (0.25, 0.5), (0.5, 0.2), (1.0, 0.2)]:
        act = actor.policy(hparams, jnp.float32(progress))
        action, _, _ = act((), jnp.zeros(N), actor.initial_carry((N,)), jax.random.key(0))
        explores = np.sum(action != BEST)
        assert goodness([explores, N - explores], [epsilon, 1 - epsilon]) > 1e-3


q = QNetwork(
    Network(
        lambda key: jax.random.normal(key, (50, A)), lambda q, obs, carry, key: (q[obs], carry)
    ),
    value_head("scalar"),
)


@pytest.mark.parametrize("kind", ["epsilon_greedy", "ez_greedy"])
def test_without_epsilon_the_best_action_is_taken(kind):
    explorer = exploring_actor(kind, q, spaces.Discrete(A))
    table, obs = explorer.init(jax.random.key(0)), jnp.arange(50)
    act, carry = explorer.policy(constant(0.0), NOW), explorer.initial_carry((50,))
    action, _, _ = act(table, obs, carry, jax.random.key(1))
    np.testing.assert_array_equal(action, np.argmax(table, axis=1))
    np.testing.assert_array_equal(action, explorer.mode(constant(0.0))(table, obs, carry)[0])


@pytest.mark.parametrize("kind", ["epsilon_greedy", "ez_greedy"])
def test_options_of_one_step_are_epsilon_greedy(kind):
    explorer = exploring_actor(kind, q, spaces.Discrete(A))
    table, obs = jnp.array([[0.0, 2.0, 1.0]]), jnp.zeros(N, jnp.int32)
    act = explorer.policy(constant(0.3, exponent=64.0), NOW)
    option = explorer.initial_carry((N,))
    for key in jax.random.split(jax.random.key(0), 3):
        action, _, option = act(table, obs, option, key)
        assert goodness(np.bincount(action, minlength=A), [0.1, 0.8, 0.1]) > 1e-3


def test_at_its_best_an_actor_explores_with_no_option_and_keeps_the_one_in_force():
    option = Option(jnp.arange(4) % A, jnp.full(4, 7))
    action, (_, after) = actor.mode(constant(0.0))((), jnp.zeros(4), ((), option))
    assert (action == BEST).all() and after is option


def test_an_option_ends_with_its_episode_however_many_steps_are_left(walk):
    # Uniform durations up to LONGEST: nearly all would outlive an episode of at most 4 steps.
    agent = rljax.dqn(
        walk,
        num_envs=64,
        warmup_env_steps=64,
        batch_size=8,
        buffer_size=640,
        hidden=(8,),
        exploration="ez_greedy",
        hparams=constant(1.0, exponent=0.0),
    )

    def step(state, _):
        state, _ = agent.step(state)
        return state, state.worker

    def train(key):
        return jax.lax.scan(step, agent.init(key), length=12)[1]

    worker = jax.tree.map(np.asarray, jax.jit(train)(jax.random.key(0)))
    ended = worker.episode_length == 0
    assert 0.2 < ended.mean() < 0.8
    assert (worker.carry[1].steps_left[ended] == 0).all()
    assert (worker.carry[1].steps_left[~ended] > 0).mean() > 0.98


def test_options_get_to_where_single_random_actions_do_not():
    car = rljax.make("MountainCar-v0")
    climbs = {}
    for kind in ("epsilon_greedy", "ez_greedy"):
        flat = lambda params, obs, carry, key: (jnp.zeros((len(obs), A)), carry)  # noqa: E731
        level = q._replace(net=q.net._replace(apply=flat))
        explorer = exploring_actor(kind, level, spaces.Discrete(A))

        def explore(key, explorer=explorer):
            worker = start(car, explorer.initial_carry((1024,)), 1024, key)
            policy = explorer.policy(constant(1.0), NOW)
            reset = partial(reset_carry, explorer)
            return rollout(car, policy, reset, (), worker, key, 200)[1]

        climbs[kind] = int(jax.jit(explore)(jax.random.key(0)).terminated.sum())
    assert climbs["epsilon_greedy"] == 0 and climbs["ez_greedy"] > 8


@pytest.mark.long
def test_noisy_weights_differ_between_environments_and_are_one_set_in_an_update():
    env = rljax.make("CartPole-v1")
    q = q_network(env, hidden=(8,), head=value_head("scalar"), noisy=True)
    params, obs = q.net.init(jax.random.key(0)), jnp.ones((6, 4))

    def distinct(q, key) -> int:
        return len(np.unique(np.asarray(q.values(params, obs, (), key)[0]).round(6), axis=0))

    apart = with_noise(q)
    assert distinct(q, jax.random.key(1)) == 1 and distinct(apart, jax.random.key(1)) == 6
    same, expected = (x.values(params, obs, (), None)[0] for x in (apart, q))
    np.testing.assert_allclose(same, expected)
    act = exploring_actor("epsilon_greedy", q, spaces.Discrete(2), noisy=True).policy(None, NOW)
    many = jnp.zeros((200, 4)) + 0.01
    actions, _, _ = act(params, many, (), jax.random.key(2))
    assert 0 < actions.mean() < 1


def test_boltzmann_explores_networks_by_their_values():
    act = exploring_actor("boltzmann", q, spaces.Discrete(A)).policy(Hparams(temperature=0.5), NOW)
    table, obs = jnp.array([[0.0, 1.0, 0.5]]), jnp.zeros(N, jnp.int32)
    action, _, _ = act(table, obs, (), jax.random.key(0))
    assert goodness(np.bincount(action, minlength=A), special.softmax([0.0, 2.0, 1.0])) > 1e-3


def explored(act, rows: int) -> np.ndarray:
    """How often each of so many environments takes the worse of two actions, over 400 steps."""
    obs = jnp.zeros(rows, jnp.int32)
    keys = jax.random.split(jax.random.key(0), 400)
    action = jax.jit(jax.vmap(lambda key: act(Q2, obs, (), key)[0]))(keys)
    return 1 - np.asarray(action).mean(axis=0)


EPSILONS = Hparams(epsilon_base=0.8, epsilon_alpha=6.0)


@pytest.mark.parametrize("rows", [1, 4])
def test_each_environment_has_an_epsilon_of_its_own(rows):
    act = exploring_actor("fixed_epsilons", q, spaces.Discrete(2)).policy(EPSILONS, NOW)
    epsilons = np.array([0.8, 0.8**3, 0.8**5, 0.8**7])[:rows]
    np.testing.assert_allclose(explored(act, rows), epsilons / 2, atol=0.07)
    # Nothing is annealed.
    for progress in (0.0, 1.0):
        probability = fixed_epsilons(EPSILONS, jnp.float32(progress))(jnp.tile(Q2, (rows, 1)))
        np.testing.assert_allclose(probability[:, 0], epsilons / 2, rtol=1e-5)


def test_epsilons_are_those_of_all_environments_where_devices_share_them():
    mesh = jax.make_mesh((2,), (collectives.ENVIRONMENTS,), axis_types=(AxisType.Auto,))
    split = PartitionSpec(collectives.ENVIRONMENTS)
    probabilities = jax.shard_map(
        fixed_epsilons(EPSILONS, NOW), mesh=mesh, in_specs=split, out_specs=split
    )
    epsilons = np.array([0.8, 0.8**3, 0.8**5, 0.8**7])
    found = jax.jit(probabilities)(jnp.tile(Q2, (4, 1)))
    np.testing.assert_allclose(found[:, 0], epsilons / 2, rtol=1e-5)


def test_values_are_recorded_beside_what_a_policy_records():
    inner = lambda params, obs, carry, key: (obs + 1, {"mine": obs}, "after")  # noqa: E731
    table = q.net.init(jax.random.key(0))
    obs = jnp.arange(7)
    action, extras, carry = recording_values(inner, q)(table, obs, "before", jax.random.key(1))
    np.testing.assert_array_equal(extras["action_values"], table[:7])
    np.testing.assert_array_equal(action, obs + 1)
    assert carry == "after" and extras.keys() == {"mine", "action_values"}


def test_an_exploration_may_be_given_as_an_object(walk):
    lowest = Exploration(
        lambda q, num_actions: value_actor(q, lambda hp, now: lambda v: greedy(hp, now)(-v))
    )
    act = exploring_actor(lowest, q, spaces.Discrete(A)).policy(None, NOW)
    table = q.net.init(jax.random.key(0))
    action, _, _ = act(table, jnp.arange(50), (), jax.random.key(1))
    np.testing.assert_array_equal(action, np.argmin(table, axis=1))
    agent = rljax.pqn(
        walk, num_envs=2, rollout_length=4, num_minibatches=1, hidden=(4,), exploration=lowest
    )
    assert agent.num_iterations == 125_000


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("boltzmann", marks=pytest.mark.long),
        pytest.param("ez_greedy", marks=pytest.mark.long),
        "fixed_epsilons",
    ],
)
def test_tables_explore_in_every_way_but_sarsa_asks_for_probabilities(kind):
    cliff = rljax.make("CliffWalking")
    agent = rljax.q_learning(cliff, num_envs=2, total_env_steps=8, exploration=kind)
    state, _ = agent.step(agent.init(jax.random.key(0)))
    assert np.any(state.learner.params != 0)
    if kind != "boltzmann":
        for factory in (rljax.sarsa, rljax.expected_sarsa):
            with pytest.raises(UsageError, match="asks how likely each action is"):
                factory(cliff, exploration=kind)
