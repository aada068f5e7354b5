"""Our Seaquest is gymnax's: the same keys and actions give the same games, step by step."""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax import _cpu
from rljax.envs import autoreset, gymnax, seaquest
from rljax.errors import UsageError

OURS, THEIRS = rljax.make("Seaquest-MinAtar"), gymnax.make("Seaquest-MinAtar")
NAMES = {  # of what a game may begin with, in gymnax's state
    "y": "sub_y",
    "aboard": "diver_count",
    "oxygen": "oxygen",
    "surfaced": "surface",
    "spawn_interval": "e_spawn_speed",
    "move_interval": "move_speed",
    "ramps": "ramp_index",
}


def late(key):
    """Numbers of a game that has gone on for long: it is fast, and divers are aboard."""
    keys = jax.random.split(key, 4)
    y = jax.random.randint(keys[0], (), 0, 9)
    ramps = jax.random.randint(keys[3], (), 0, 20)
    return {
        "y": y,
        "aboard": jax.random.randint(keys[1], (), -1, 7),
        "oxygen": jax.random.randint(keys[2], (), 0, 201),
        "surfaced": y == 0,
        "spawn_interval": 20 - ramps,
        "move_interval": jnp.maximum(5 - ramps // 2, 2),
        "ramps": ramps,
    }


def games(env, num_games, steps):
    """What random actions lead to: half of the games as they begin, half late ones without ends."""

    def begin(key, is_late):
        state, _ = autoreset.reset(env, key)
        new = late(key)
        if env is THEIRS:
            changed = state.replace(**{NAMES[name]: value for name, value in new.items()})
        else:
            changed = state._replace(**new)
        return jax.tree.map(lambda new, old: jnp.where(is_late, new, old), changed, state)

    def play(key, is_late):
        key, key_begin = jax.random.split(key)

        def step(state, key):
            key_act, key_step, key_begin = jax.random.split(key, 3)
            action = jax.random.randint(key_act, (), 0, 6)
            state, obs, *rest = autoreset.step(env, key_step, state, action)
            if env is THEIRS:  # where a game goes on after its end, that is forgotten
                state = state.replace(terminal=jnp.bool_(False))
            over = (rest[1] & ~is_late) | rest[2]
            new = begin(key_begin, is_late)
            state = jax.tree.map(lambda new, old: jnp.where(over, new, old), new, state)
            return state, (jnp.packbits(obs), *rest)

        return jax.lax.scan(step, begin(key_begin, is_late), jax.random.split(key, steps))[1]

    keys = jax.random.split(jax.random.key(1), num_games)
    return jax.vmap(play)(keys, jnp.arange(num_games) % 2 == 0)


def checksum(seen) -> int:
    """Of all numbers of 16 games of 120 steps."""
    return zlib.crc32(b"".join(np.asarray(x)[:16, :120].tobytes() for x in seen))


KNOWN = 1942283246  # of gymnax's games


def test_it_is_the_game_whose_checksum_is_known():
    assert checksum(jit(partial(games, OURS, 16, 120))()) == KNOWN


@pytest.mark.slow
def test_it_is_step_by_step_the_game_of_gymnax():
    ours, theirs = (
        jax.jit(_cpu.unrolled(partial(games, env, 50, 2000)))() for env in (OURS, THEIRS)
    )
    for what, a, b in zip(("obs", "reward", "terminated", "truncated"), ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b, what)
    assert checksum(theirs) == KNOWN
    _, reward, terminated, truncated = ours
    assert (reward == 1).any() and terminated[1::2].any()
    assert (reward > 5).any() and truncated.any()  # six divers at once; the time limit


def test_of_enemies_in_one_cell_a_bullet_takes_one_kind_first_and_the_oldest_of_it():
    def things(n, *there):  # later places are older
        zeros = np.zeros(n, np.int32)
        return seaquest.Things(zeros, zeros, zeros, zeros, np.isin(np.arange(n), there))

    is_sub = np.isin(np.arange(seaquest.ENEMIES), (5, 9))
    shoot = partial(seaquest._shoot, things(2, 1), things(seaquest.ENEMIES, 3, 5, 7, 9), is_sub)
    for subs_first, left in (False, [3, 5, 9]), (True, [3, 5, 7]):
        bullets, enemies, hits = shoot(subs_first)
        assert hits == 1 and not bullets.there.any()
        assert np.flatnonzero(enemies.there).tolist() == left


@pytest.mark.long
def test_parameters_are_two_and_the_rest_are_refused():
    env = rljax.make("Seaquest-MinAtar", max_steps_in_episode=3, ramping=False)
    slow = rljax.make("Seaquest-MinAtar")

    @jit
    def ends(env_state, time):
        """Of the step before and at the limit, and how often enemies enter behind the surface."""
        state = env_state._replace(time=time, aboard=jnp.int32(3), surfaced=jnp.bool_(False))
        outcomes = [e.step(jax.random.key(0), state, jnp.int32(0)) for e in (env, slow)]
        return [(state.spawn_interval, *ends) for state, _, _, *ends in outcomes]

    state, _ = env.reset(jax.random.key(0))
    first, ramped = seaquest.SPAWN_INTERVAL, seaquest.SPAWN_INTERVAL - 1
    assert ends(state, 1) == [(first, False, False), (ramped, False, False)]
    assert ends(state, 2) == [(first, False, True), (ramped, False, False)]
    with pytest.raises(UsageError, match="no parameter 'max_oxygen'"):
        rljax.make("Seaquest-MinAtar", max_oxygen=3)
    with pytest.raises(UsageError, match="max_steps_in_episode must be a whole number"):
        rljax.make("Seaquest-MinAtar", max_steps_in_episode=0)
