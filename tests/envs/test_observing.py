"""Environments of which something else is observed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from walks import walks

import rljax
from rljax.envs import observing
from rljax.errors import UsageError
from rljax.types import HasGoal

KEY = jax.random.key(0)


def test_some_numbers_of_an_observation_are_seen_and_the_rest_is_the_environment_s():
    whole, part = rljax.make("CartPole-v1"), rljax.make("CartPole-v1", observed=[0, 2])
    assert part.observation_space.shape == (2,) and part.name == whole.name
    np.testing.assert_array_equal(part.observation_space.high, whole.observation_space.high[[0, 2]])
    (state, obs), (theirs, seen) = whole.reset(KEY), part.reset(KEY)
    for _ in range(3):
        np.testing.assert_array_equal(seen, obs[jnp.array([0, 2])])
        state, obs, *outcome = whole.step(KEY, state, 1)
        theirs, seen, *same = part.step(KEY, theirs, 1)
        assert outcome == same


def test_the_step_before_is_seen_and_before_the_first_there_is_none():
    env = rljax.make("FrozenLake4x4", previous_step=True)
    cells, actions = 16, env.action_space.n
    assert env.observation_space.shape == (cells + actions + 1,)
    state, obs = env.reset(KEY)
    assert obs[:cells].sum() == 1 and not obs[cells:].any()
    state, obs, reward, *_ = env.step(KEY, state, jnp.int32(2))
    np.testing.assert_array_equal(obs[cells:], [*np.eye(actions)[2], reward])


def test_continuous_actions_are_seen_as_they_are():
    env = rljax.make("Pendulum-v1", observed=(0,), previous_step=True)
    state, obs = env.reset(KEY)
    assert not obs[1:].any()
    _, obs, reward, *_ = env.step(KEY, state, jnp.array([0.7]))
    np.testing.assert_allclose(obs[1:], [0.7, reward], rtol=1e-6)
    assert env.observation_space.low[1] == -2 and np.isneginf(env.observation_space.low[2])


def test_what_an_environment_has_besides_stays():
    assert isinstance(rljax.make("MountainCar-v0", observed=[0]), HasGoal)
    assert not isinstance(rljax.make("CartPole-v1", observed=[0]), HasGoal)


def test_a_simulator_is_seen_in_the_same_way_also_where_an_episode_ends():
    env = observing.viewed(walks(), observed=[1], previous_step=True)
    simulator = env.simulator(2)
    assert env.observation_space.shape == (1 + 4 + 1,)
    np.testing.assert_array_equal(simulator.reset([0, 1]), np.zeros((2, 6)))
    steps = simulator.step(np.array([1, 3]))
    np.testing.assert_array_equal(steps.next_obs, [[1, 0, 1, 0, 0, 11], [3, 0, 0, 0, 1, 31]])
    # The second walk is over: what is seen next begins another.
    np.testing.assert_array_equal(steps.obs, [[1, 0, 1, 0, 0, 11], [0, 0, 0, 0, 0, 0]])
    assert steps.obs.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CartPole-v1", {"observed": [0, 4]}, r"^observed = \[0, 4\] names places from 0 to 3"),
        ("CartPole-v1", {"observed": [0.0]}, "not 0.0$"),
        ("CartPole-v1", {"observed": []}, "^observed names no place"),
        ("Breakout-MinAtar", {"previous_step": True}, r"a Box of one axis, not Box\(10, 10, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        rljax.make(name, **options)
