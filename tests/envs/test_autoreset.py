from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.envs.autoreset import autoreset, reset, step

KEYS = jax.random.split(jax.random.key(0), 300)


@partial(jax.jit, static_argnums=0)
def play(env, action):
    """300 steps of one action: what each was from, and what it returned."""

    def advance(before, key):
        state, obs, *rest = autoreset(env, key, before[0], action)
        return (state, obs), (before, (state, obs), *rest)

    return jax.lax.scan(advance, reset(env, jax.random.key(1)), KEYS)[1]


# Positions go 1, 2, 3 (terminated); stay 0 for 4 steps (truncated); 3 at once (terminated).
@pytest.mark.parametrize("action, length, terminates", [(1, 3, True), (0, 4, False), (3, 1, True)])
def test_an_end_starts_a_new_episode_and_keeps_the_final_observation(
    walk, action, length, terminates
):
    before, (state, obs), reward, terminated, truncated, next_obs = play(walk, action)
    done = np.arange(len(KEYS)) % length == length - 1
    np.testing.assert_array_equal(terminated, done & terminates)
    np.testing.assert_array_equal(truncated, done & (not terminates))
    np.testing.assert_array_equal(reward, np.full(len(KEYS), 10.0 * action + 1))
    # What the step led to belongs to the episode that ended, ...
    time = np.arange(len(KEYS)) % length + 1
    expected = np.stack([before[0]["start"], action * time, time], axis=1)
    np.testing.assert_array_equal(next_obs, expected)
    # ... and what comes next to another one, unless nothing ended.
    np.testing.assert_array_equal(obs[~done], next_obs[~done])
    assert (obs[done, 0] != next_obs[done, 0]).all() and not obs[done, 1:].any()
    np.testing.assert_array_equal(state["start"], obs[:, 0])
    np.testing.assert_array_equal(state["time"], np.where(done, 0, time))
    np.testing.assert_array_equal(state["position"], np.where(done, 0, action * time))


def test_a_hundred_episodes_start_from_different_states(walk):
    _, (_, obs), *_ = play(walk, 1)
    starts = np.asarray(obs)[2::3, 0]
    assert len(starts) == len(np.unique(starts)) == 100


def test_terminated_wins_over_truncated(walk):
    state, _ = reset(walk, KEYS[0])
    state = {**state, "time": jnp.int32(3)}
    for action, expected in [(3, (True, False)), (0, (False, True))]:
        for function in step, autoreset:
            _, _, _, terminated, truncated, *_ = function(walk, KEYS[1], state, jnp.int32(action))
            assert (bool(terminated), bool(truncated)) == expected


def test_types_are_those_of_reset_and_strong(walk):
    def types(function, *args):
        out = jax.eval_shape(function, *args)
        return jax.tree.map(lambda x: (x.dtype.name, x.weak_type), out)

    fresh = jax.eval_shape(partial(reset, walk), KEYS[0])
    state = {
        "start": ("float32", False), "position": ("int32", False), "time": ("int32", False),
    }  # fmt: skip
    obs, flag = ("float32", False), ("bool", False)
    assert types(partial(reset, walk), KEYS[0]) == (state, obs)
    stepped = (state, obs, obs, flag, flag)
    for function, expected in (step, stepped), (autoreset, (*stepped, obs)):
        assert types(partial(function, walk), KEYS[0], fresh[0], jnp.int32(0)) == expected


def test_a_state_may_hold_a_key():
    class Keyed:
        def reset(self, key):
            return key, jax.random.uniform(key)

        def step(self, key, state, action):
            return jax.random.fold_in(state, 1), jax.random.uniform(state), 0, action == 1, False

    for action in (0, 1):
        state, *_ = autoreset(Keyed(), KEYS[0], KEYS[1], jnp.int32(action))
        expected = jax.random.split(KEYS[0])[1] if action else jax.random.fold_in(KEYS[1], 1)
        assert jnp.issubdtype(state.dtype, jax.dtypes.prng_key)
        assert (state == expected) or action


class Costly:
    """The same environment, that says so of its reset, and counts the calls of it."""

    reset_is_costly = True

    def __init__(self, env):
        self.env, self.calls = env, 0

    def reset(self, key):
        jax.debug.callback(self.count, jax.random.key_data(key))  # Once for each of a batch.
        return self.env.reset(key)

    def step(self, key, state, action):
        return self.env.step(key, state, action)

    def count(self, key):
        self.calls += 1


@pytest.mark.parametrize("axes", [(), (1,), (33,), (2, 9)])
def test_a_costly_reset_gives_what_any_other_does(walk, axes):
    keys = jax.random.split(jax.random.key(0), (50, *axes))
    actions = jax.random.randint(jax.random.key(1), (50, *axes), 0, 4)

    def played(env):
        begin, advance = partial(reset, env), partial(autoreset, env)
        for _ in axes:
            begin, advance = jax.vmap(begin), jax.vmap(advance)

        def step(state, given):
            state, *rest = advance(given[0], state, given[1])
            return state, (state, rest)

        return jax.jit(lambda: jax.lax.scan(step, begin(keys[0])[0], (keys, actions))[1])()

    jax.tree.map(np.testing.assert_array_equal, played(Costly(walk)), played(walk))


@pytest.mark.parametrize(("ended", "resets"), [(0, 0), (1, 2), (3, 4), (4, 4), (20, 20)])
def test_a_costly_reset_happens_for_a_portion_of_environments_at_a_time(walk, ended, resets):
    costly = Costly(walk)
    state, _ = jax.vmap(partial(reset, walk))(KEYS[:20])  # In portions of 2.
    actions = jnp.where(jnp.arange(20) < ended, 3, 0)
    state, *_, next_obs = jax.jit(jax.vmap(partial(autoreset, costly)))(KEYS[:20], state, actions)
    jax.effects_barrier()
    assert costly.calls == resets
    np.testing.assert_array_equal(state["time"], np.arange(20) >= ended)
    assert next_obs[:, 2].tolist() == [1] * 20
