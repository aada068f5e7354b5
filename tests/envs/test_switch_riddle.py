"""The riddle of the prisoners, beside a plain model of its rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs.switch_riddle import NOTHING, SWITCH, TELL
from rljax.errors import UsageError


@pytest.mark.parametrize("prisoners", [2, 4])
def test_random_days_are_those_of_a_plain_model(prisoners):
    env, rng = rljax.make("SwitchRiddle", prisoners=prisoners), np.random.default_rng(prisoners)
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    read = jax.jit(lambda s: (env.action_mask(s), env.global_state(s), env.success(s)))
    limit, outcomes = 4 * prisoners - 6, []
    for episode in range(60):
        state, obs = reset(jax.random.key(episode))
        light, been, day, over = False, set(), 0, False
        while not over:
            room = int(state.room)
            inside = np.arange(prisoners) == room
            assert obs.tolist() == [[float(i), float(i and light)] for i in inside]
            mask, told, free = read(state)
            assert (mask[:, 1:] == inside[:, None]).all() and mask[:, NOTHING].all() and not free
            all_there_is = [light, *inside, *(i in been for i in range(prisoners)), day / limit]
            assert told == pytest.approx(np.array(all_there_is, float))
            # The others shout in vain.
            action = rng.integers(0, 3, prisoners)
            action[room] = rng.choice(3, p=[0.45, 0.45, 0.1])
            state, obs, reward, over, truncated = step(
                jax.random.key(rng.integers(2**31)), state, jnp.array(action)
            )
            been.add(room)
            day += 1
            light ^= action[room] == SWITCH
            right = action[room] == TELL and len(been) == prisoners
            expected = 0 if action[room] != TELL else 1 if right else -1
            assert reward.tolist() == [expected] * prisoners and not truncated
            assert bool(over) == (action[room] == TELL or day == limit)
            assert bool(read(state)[2]) == right
        outcomes.append(expected)
    assert set(outcomes) == {-1, 0, 1}


@pytest.mark.long
def test_a_prisoner_is_led_into_the_room_by_chance():
    env = rljax.make("SwitchRiddle")
    keys = jax.random.split(jax.random.key(0), 300)
    first, _ = jax.vmap(env.reset)(keys)
    after = jax.vmap(lambda key, state: env.step(key, state, jnp.zeros(3, int))[0])(keys, first)
    for rooms in (first.room, after.room):
        assert np.bincount(rooms).min() > 70 and np.bincount(rooms).size == 3
    assert not first.light.any() and not first.been.any()


def test_it_is_a_game_of_one_team():
    env = rljax.make("SwitchRiddle", prisoners=4)
    assert env.agents[3] == "prisoner_3" and env.teams == ((0, 1, 2, 3),) and env.shared_reward
    assert env.state_space.shape == (10,) and env.limit == 10
    with pytest.raises(UsageError, match="prisoners must be a whole number of at least 2"):
        rljax.make("SwitchRiddle", prisoners=1)
