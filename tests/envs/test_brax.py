"""Tasks of Brax are what Brax says they are, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import autoreset
from rljax.errors import UsageError

LIMIT, N = 6, 3
TASKS = [
    pytest.param("inverted_pendulum", {}, id="generalized", marks=pytest.mark.long),
    pytest.param("fast", {}, id="fast"),
    pytest.param("hopper", {"backend": "spring"}, id="hopper", marks=pytest.mark.slow),
    pytest.param("reacher", {"action_repeat": 2}, id="repeated", marks=pytest.mark.slow),
    pytest.param("inverted_pendulum", {"backend": "mjx"}, id="mjx", marks=pytest.mark.slow),
]


def theirs(task, keys, actions, action_repeat=1, **params):
    """Brax's own episode, of which nothing is reset: obs, reward, done, truncation [T, N]."""
    from brax import envs
    from brax.envs.wrappers import training

    env = training.EpisodeWrapper(envs.get_environment(task, **params), LIMIT, action_repeat)

    def one(key, actions):
        def step(state, action):
            state = env.step(state, action)
            return state, (state.obs, state.reward, state.done, state.info["truncation"])

        first = env.reset(key)
        state = env.step(first, actions[0])  # The first step changes types.
        begin = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), first, state)
        return first.obs, jax.lax.scan(step, begin, actions)[1]

    return jax.jit(jax.vmap(one))(keys, actions)


@pytest.mark.parametrize(("task", "params"), TASKS)
def test_every_step_is_brax_s_own(task, params):
    env = rljax.make(f"brax/{task}", episode_length=LIMIT, **params)
    keys = jax.random.split(jax.random.key(0), N)
    length = LIMIT // params.get("action_repeat", 1)
    shape = (N, length, *env.action_space.shape)
    actions = jax.random.uniform(jax.random.key(1), shape, minval=-1, maxval=1)

    def one(key, actions):
        def step(state, action):
            state, *rest = autoreset.step(env, key, state, action)
            return state, rest

        state, obs = autoreset.reset(env, key)
        return obs, jax.lax.scan(step, state, actions)[1]

    first, (obs, reward, terminated, truncated) = jax.jit(jax.vmap(one))(keys, actions)
    expected, (their_obs, their_reward, done, truncation) = theirs(task, keys, actions, **params)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(first, expected, **close)
    np.testing.assert_allclose(obs, their_obs, **close)
    np.testing.assert_allclose(reward, their_reward, **close)
    np.testing.assert_array_equal(terminated | truncated, done)
    np.testing.assert_array_equal(truncated, truncation)
    assert truncated[:, -1].any() and obs.std() > 0


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("brax/antt", {}, "env 'brax/antt' is not known; did you mean 'brax/ant'?"),
        ("brax/ant", {"backend": "sprung"}, "brax/ant: backend 'sprung' is not .* mean 'spring'?"),
        ("brax/reacher", {"limit": 1}, "brax/reacher cannot be made with limit: .*limit"),
        ("brax/fast", {"episode_length": 0}, "episode_length must be a whole number"),
    ],
)
def test_what_brax_does_not_have_is_refused(name, params, sentence):
    with pytest.raises(UsageError, match=sentence) as refusal:
        rljax.make(name, **params)
    assert "\n" not in str(refusal.value)


def test_a_task_without_bodies_cannot_be_drawn():
    with pytest.raises(UsageError, match="brax/fast has no bodies that could be drawn"):
        rljax.make("brax/fast").poses(None)


@pytest.mark.long
def test_the_poses_of_states_are_those_of_its_joints():
    env = rljax.make("brax/inverted_pendulum")
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2))
    model, fields = env.poses(states)
    assert (model.nq, model.nv) == (2, 2)
    np.testing.assert_array_equal(fields["qpos"], states.inner.obs[:, :2])
    np.testing.assert_array_equal(fields["qvel"], states.inner.obs[:, 2:])
