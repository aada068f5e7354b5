"""What Brax and Playground have in common, by a suite of one task that takes no time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from small import SMALL

import rljax
from rljax.envs import autoreset, spaces
from rljax.envs.physics import PhysicsEnvironment
from rljax.errors import NonFiniteError, UsageError


@struct.dataclass
class Given:
    obs: dict
    reward: jax.Array
    done: jax.Array
    info: dict


class Task:
    """Adds actions up; done beyond 3. It changes the State it is given, as the suites do."""

    action_size, dt = 2, 0.05

    def reset(self, rng):
        at = 0.1 * jax.random.uniform(rng)
        return Given(self._obs(at), jnp.zeros(()), jnp.zeros(()), {"at": at, "last": 0})

    def step(self, state, action):
        at = state.info["at"] + action.sum()
        state.info.update(at=at, last=state.info["at"])
        return state.replace(obs=self._obs(at), reward=at, done=1.0 * (at > 3))

    def _obs(self, at):
        return {"state": jnp.stack([at, -at]), "privileged_state": jnp.stack([at, -at, at])}


class Flat(Task):
    def _obs(self, at):
        return jnp.stack([at, -at])


def play(env, actions):
    """Observations, rewards, terminated and truncated of one episode, without a reset."""

    def step(state, action):
        state, obs, *rest = autoreset.step(env, jax.random.key(1), state, action)
        return state, (obs, *rest)

    state, _ = autoreset.reset(env, jax.random.key(0))
    return jax.lax.scan(step, state, jnp.asarray(actions, jnp.float32))[1]


ONES = np.ones((5, 2))


def test_an_end_of_the_task_terminates_and_the_clock_truncates():
    _, reward, terminated, truncated = play(PhysicsEnvironment("flat", Flat(), 4), ONES)
    assert terminated.tolist() == [False, True, True, True, True]
    assert not truncated.any()
    np.testing.assert_allclose(np.diff(reward), 2, atol=1e-5)
    _, _, terminated, truncated = play(PhysicsEnvironment("flat", Flat(), 4), 0 * ONES)
    assert not terminated.any() and truncated.tolist() == [False, False, False, True, True]
    repeated = PhysicsEnvironment("flat", Flat(), 4, action_repeat=2)  # The limit is the suite's.
    assert play(repeated, 0 * ONES)[3].tolist() == [False, True, True, True, True]


def test_a_repeated_action_adds_rewards_up_until_the_end():
    once, twice = (PhysicsEnvironment("flat", Flat(), 9, repeat) for repeat in (1, 3))
    obs, reward, terminated, _ = play(once, ONES)
    more, rewards, over, _ = play(twice, ONES[:1])
    np.testing.assert_array_equal(more[0], obs[1])  # The third repetition never happens.
    np.testing.assert_allclose(rewards[0], reward[0] + reward[1], rtol=1e-6)
    assert over[0] and not terminated[0] and terminated[1]
    assert (once.seconds_per_step, twice.seconds_per_step) == (0.05, pytest.approx(0.15))


@pytest.mark.long
def test_observations_with_names_are_a_dict_or_one_part_of_it():
    env = PhysicsEnvironment("task", Task())
    assert spaces.describe(env.observation_space) == (
        "Dict(privileged_state: Box(3,) float32, state: Box(2,) float32)"
    )
    assert spaces.describe(env.action_space) == "Box(2,) float32 in [-1, 1]"
    _, obs = env.reset(jax.random.key(0))
    assert {name: x.shape for name, x in obs.items()} == {"state": (2,), "privileged_state": (3,)}
    assert rljax.check_env(env)[1:] == []  # It never ends by itself.
    rljax.ppo(env, actor_obs=["state"])
    part = PhysicsEnvironment("task", Task(), part="state")
    assert part.observation_space.shape == (2,)
    np.testing.assert_array_equal(part.reset(jax.random.key(0))[1], obs["state"])
    rljax.ppo(part)


@pytest.mark.parametrize(
    ("task", "given", "sentence"),
    [
        (Task, {"part": "stat"}, "task: part 'stat' is not known; did you mean 'state'"),
        (Flat, {"part": "state"}, "task observes one array: leave out part='state'"),
        (Flat, {"episode_length": 0}, "episode_length must be a whole number of at least 1"),
        (Flat, {"action_repeat": 0.5}, "action_repeat must be a whole number of at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(task, given, sentence):
    with pytest.raises(UsageError, match=sentence):
        PhysicsEnvironment("task", task(), **given)


class Unsound(Flat):
    def _obs(self, at):
        return jnp.stack([at, jnp.where(at > 1, jnp.nan, 0.0)])


@pytest.mark.long
def test_a_nan_of_the_physics_stops_the_run_and_the_task_is_named():
    agent = rljax.ppo(PhysicsEnvironment("suite/task", Unsound()), **SMALL)
    told = r"the environment suite/task is not finite in iteration \d+ "
    with pytest.raises(NonFiniteError, match=told):
        rljax.train(agent, jax.random.key(0), chunk_iterations=1)
