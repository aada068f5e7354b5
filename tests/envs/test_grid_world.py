import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import GRID_WORLDS, NAMES, autoreset
from rljax.envs.grid_world import MAPS, GridState, GridWorld, TransitionModel, parse
from rljax.errors import UsageError
from rljax.ops import value_iteration

UP, RIGHT, DOWN, LEFT = range(4)
PAYS = {"step_reward": -1.0, "goal_reward": 5.0, "cliff_reward": -7.0, "hole_reward": -3.0}
SMALL = """
    S . # ~
    C H G .
"""
TWO_STARTS = """
    S ~ .
    s C G
"""


@partial(jax.jit, static_argnums=(0, 1))
def sample(env, count):
    """Cell, reward and terminated [S, A, count] of each action from each cell."""

    def once(position, action, key):
        state = env.reset(key)[0]
        names = {"position": position, "time": jnp.int32(0)}
        state = state._replace(**names) if isinstance(state, tuple) else state.replace(**names)
        return autoreset.step(env, key, state, action)[1:4]

    size = env.observation_space.n, env.action_space.n
    keys = jax.random.split(jax.random.key(0), (*size, count))
    many = jax.vmap(once, (None, None, 0))
    many = jax.vmap(jax.vmap(many, (None, 0, 0)), (0, None, 0))
    return many(jnp.arange(size[0]), jnp.arange(size[1]), keys)


def check_samples(env, model, cells, count=2000):
    """Frequencies and mean rewards of steps from `cells`, within five standard errors."""
    cell, reward, terminated = (np.asarray(x)[cells] for x in sample(env, count))
    probability = model.probability[cells]
    frequency = np.zeros(probability.shape)
    np.add.at(frequency, (*np.nonzero(~terminated)[:2], cell[~terminated]), 1 / count)
    error = 5 * np.sqrt(probability * (1 - probability) / count)
    assert (np.abs(frequency - probability) <= error + 1e-6).all()
    ends = 1 - probability.sum(axis=-1)
    error = 5 * np.sqrt(np.clip(ends * (1 - ends), 0, 1) / count)
    assert (np.abs(terminated.mean(axis=2) - ends) <= error + 1e-6).all()
    error = 5 * reward.std(axis=2) / np.sqrt(count)
    assert (np.abs(reward.mean(axis=2) - model.reward[cells]) <= error + 1e-4).all()


def inhabited(env):
    return np.flatnonzero(~np.isin(env.cells.ravel(), list("#CHG")))


def gymnasium_model(name):
    """Gymnasium's own table of the dynamics, and its time limit."""
    env = pytest.importorskip("gymnasium").make(name)
    table, size = env.unwrapped.P, env.observation_space.n
    probability, reward = np.zeros((size, 4, size)), np.zeros((size, 4))
    for position, actions in table.items():
        for action, outcomes in actions.items():
            for chance, cell, pays, terminated in outcomes:
                reward[position, action] += chance * pays
                probability[position, action, cell] += chance * (not terminated)
    model = TransitionModel(probability, reward, np.asarray(env.unwrapped.initial_state_distrib))
    return model, env.spec.max_episode_steps


WORLDS = {name: rljax.make(name) for name in GRID_WORLDS} | {
    "two starts": GridWorld(TWO_STARTS, **PAYS, slip=0.5),
    "two starts, firm": GridWorld(TWO_STARTS, **PAYS, slip=0.0),
    "always astray": GridWorld(SMALL.replace(".", "~"), **PAYS, slip=1.0),
}


@pytest.mark.parametrize("name", WORLDS)
def test_samples_follow_the_transition_model(name):
    env = WORLDS[name]
    model = env.transition_model()
    check_samples(env, model, inhabited(env))
    nobody = np.isin(env.cells.ravel(), list("#CHG"))
    assert not model.probability[nobody].any() and not model.reward[nobody].any()


@pytest.mark.parametrize("ours, theirs", [("4x4", "FrozenLake-v1"), ("8x8", "FrozenLake8x8-v1")])
def test_frozen_lake_is_gymnasiums_but_for_the_order_of_the_actions(ours, theirs):
    env, (model, limit) = WORLDS["FrozenLake" + ours], gymnasium_model(theirs)
    got = env.transition_model()
    np.testing.assert_allclose(got.probability[:, ::-1], model.probability, atol=1e-12)
    np.testing.assert_allclose(got.reward[:, ::-1], model.reward, atol=1e-12)
    np.testing.assert_array_equal(got.start, model.start)
    assert env.limit == limit


def test_gymnax_frozen_lake_is_gymnasiums_4x4():
    env, (model, limit) = rljax.make("FrozenLake-misc"), gymnasium_model("FrozenLake-v1")
    check_samples(env, model, inhabited(WORLDS["FrozenLake4x4"]), count=3000)
    assert env.params.max_steps_in_episode == limit
    state, obs = autoreset.reset(env, jax.random.key(0))
    assert obs.shape == () and model.start[obs] == 1
    *_, terminated, truncated = autoreset.step(
        env, jax.random.key(0), state.replace(time=jnp.int32(limit - 1)), jnp.int32(0)
    )
    assert truncated and not terminated


@pytest.mark.parametrize(
    "position, action, cell, reward, terminated",
    [
        (0, RIGHT, 1, -1, False),
        (0, UP, 0, -1, False),  # the edge of the map
        (0, LEFT, 0, -1, False),
        (3, RIGHT, 3, -1, False),
        (1, RIGHT, 1, -1, False),  # a wall
        (3, LEFT, 3, -1, False),
        (7, DOWN, 7, -1, False),
        (3, DOWN, 7, -1, False),
        (1, LEFT, 0, -1, False),  # back on the start: floor like any other
        (0, DOWN, 0, -7, False),  # the cliff
        (1, DOWN, 5, -3, True),  # the hole
        (7, LEFT, 6, 5, True),  # the goal
    ],
)
def test_a_step(position, action, cell, reward, terminated):
    env = GridWorld(SMALL, **PAYS, slip=0.0)
    state = GridState(jnp.int32(position), jnp.int32(3))
    state, obs, *rest = env.step(jax.random.key(0), state, jnp.int32(action))
    assert (state.position, obs, state.time) == (cell, cell, 4)
    assert rest == [reward, terminated, False]


def test_the_clock_truncates_at_the_limit_and_cannot_be_seen():
    env = GridWorld("S C G", limit=3)
    state, obs = autoreset.reset(env, jax.random.key(0))
    for time, action in enumerate((LEFT, RIGHT, UP), 1):  # falling does not turn the clock back
        state, obs, _, terminated, truncated = autoreset.step(
            env, jax.random.key(time), state, jnp.int32(action)
        )
        assert (state.time, obs, terminated, truncated) == (time, 0, False, time == 3)
    assert env.observation_space.n == 3 and env.observation_space.shape == ()


def test_several_starts_are_equally_likely_at_first_and_after_a_fall():
    env = GridWorld("S.SCS~s", slip=0.9)
    keys = jax.random.split(jax.random.key(0), 8000)
    first = jax.vmap(env.reset)(keys)[1]
    state = GridState(jnp.int32(2), jnp.int32(0))
    _, fallen, *_ = jax.vmap(env.step, (0, None, None))(keys, state, jnp.int32(RIGHT))
    for cells in first, fallen:
        frequency = np.bincount(cells, minlength=7) / len(keys)
        np.testing.assert_allclose(frequency, [0.25, 0, 0.25, 0, 0.25, 0, 0.25], atol=0.025)
    np.testing.assert_array_equal(env.transition_model().start, [0.25, 0, 0.25, 0, 0.25, 0, 0.25])


def test_slipping_and_falling_draw_from_different_keys():
    env, (key_reset, key_step) = WORLDS["two starts"], jax.random.split(jax.random.key(0))
    with jax.debug_key_reuse(True):
        state = jax.jit(env.reset)(key_reset)[0]
        jax.jit(env.step)(key_step, state, jnp.int32(RIGHT))


@pytest.mark.parametrize(
    "env, draws",
    [
        (WORLDS["CliffWalking"], False),
        (rljax.make("GridWorld10x10", slip=0.0), False),
        (GridWorld("S.S.G"), False),
        (WORLDS["GridWorld10x10"], True),
        (WORLDS["two starts, firm"], True),
    ],
)
def test_only_chance_draws_random_bits(env, draws):
    state = env.reset(jax.random.key(0))[0]
    program = str(jax.make_jaxpr(env.step)(jax.random.key(0), state, jnp.int32(0)))
    assert ("random" in program or "threefry" in program) == draws


@pytest.mark.parametrize("name", WORLDS)
def test_batches_are_the_single_steps_and_types_hold(name):
    env = WORLDS[name]

    def play(key):
        def step(carry, key):
            *carry, reward, terminated, truncated, _ = autoreset.autoreset(
                env, key, carry[0], jax.random.randint(jax.random.fold_in(key, 0), (), 0, 4)
            )
            return carry, (carry[1], reward, terminated, truncated)

        return jax.lax.scan(step, list(autoreset.reset(env, key)), jax.random.split(key, 50))[1]

    keys = jax.random.split(jax.random.key(0), 8)
    batch = jax.jit(jax.vmap(play))(keys)
    jax.tree.map(lambda b, s: np.testing.assert_array_equal(b[5], s), batch, play(keys[5]))

    state, obs = jax.eval_shape(env.reset, keys[0])
    out = jax.eval_shape(env.step, keys[0], state, jnp.int32(0))
    names = jax.tree.map(lambda x: (x.shape, x.dtype.name, x.weak_type), out)
    integer, flag = ((), "int32", False), ((), "bool", False)
    assert names == (GridState(integer, integer), integer, ((), "float32", False), flag, flag)
    assert (obs.dtype, obs.weak_type) == (env.observation_space.dtype, False)


@pytest.mark.parametrize(
    "name, gamma, expected",
    [
        ("CliffWalking", 1.0, -13.0),
        ("FrozenLake4x4", 0.99, 0.5420),
        ("FrozenLake8x8", 0.99, 0.4146),
    ],
)
def test_the_start_is_worth_what_it_is_known_to_be(name, gamma, expected):
    model = WORLDS[name].transition_model()
    q = value_iteration(model.probability, model.reward, gamma)
    assert model.start @ q.max(axis=1) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("slip, steps", [(0.0, 11), (0.1, 19), (0.2, 23)])
def test_how_slippery_it_is_decides_which_way_is_best(slip, steps):
    env = rljax.make("GridWorld10x10", slip=slip)
    model = env.transition_model()
    q = np.asarray(value_iteration(model.probability, model.reward, 0.99))
    cell, taken = int(env.starts[0]), 0
    while env.cells.flat[cell] != "G":
        cell, taken = int(env.reached[cell, q[cell].argmax()]), taken + 1
        assert taken < 100
    assert taken == steps


@pytest.mark.parametrize(
    "name, steps, states",
    [("DynaMaze", 14, 47), ("BlockingMaze", 10, 46), ("ShortcutMaze", 16, 46)],
)
def test_the_mazes_are_those_of_the_book(name, steps, states):
    env = WORLDS[name]
    model = env.transition_model()
    q = value_iteration(model.probability, model.reward, 0.95)
    assert model.start @ q.max(axis=1) == pytest.approx(0.95 ** (steps - 1), rel=1e-4)
    assert (env.cells != "#").sum() == states


@pytest.mark.parametrize("name, steps", [("BlockingMaze", 16), ("ShortcutMaze", 10)])
def test_a_maze_that_has_changed_has_another_way(name, steps):
    env = rljax.make(name, changed=True)
    model = env.transition_model()
    q = value_iteration(model.probability, model.reward, 0.95)
    assert model.start @ q.max(axis=1) == pytest.approx(0.95 ** (steps - 1), rel=1e-4)
    assert rljax.make(name, changed=False) == WORLDS[name]


def test_spaces_and_indentation_do_not_count():
    np.testing.assert_array_equal(parse("S.#\n~CG"), parse("\n   S . #\n\n   ~ C\tG   \n "))
    assert parse("S.#\n~CG").tolist() == [["S", ".", "#"], ["~", "C", "G"]]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"text": "S . x\n. . G"}, r"lake: text has 'x' at line 1, column 5; write .*C \(cliff\)"),
        ({"text": "\n  S F\n"}, "text has 'F' at line 2, column 5; write one of S"),
        ({"text": "\nS . .\n. G\n"}, "lake: line 3 of text has 2 cells but line 2 has 3; make"),
        ({"text": ". . G"}, "lake: text has no start: write S where"),
        ({"text": " \n"}, "lake: text has no start: write S where"),
        ({"text": ["S.", ".G"]}, "lake: text must be one string, a line for each row, not"),
        ({"slip": 1.5}, "lake: slip must be from 0 to 1, not 1.5"),
        ({"slip": -0.1}, "lake: slip must be from 0 to 1, not -0.1"),
        ({"slip": float("nan")}, "lake: slip must be from 0 to 1, not nan"),
        ({"limit": 0}, "limit must be a whole number of at least 1, not 0"),
    ],
)
def test_maps_that_cannot_be_walked_are_refused_in_one_sentence(fields, message):
    with pytest.raises(UsageError, match=message) as refusal:
        GridWorld(**{"text": "S G", "name": "lake", **fields})
    assert "\n" not in str(refusal.value)


def test_the_registry_makes_every_map_and_lets_fields_be_overridden():
    assert tuple(MAPS) == GRID_WORLDS and set(GRID_WORLDS) < set(NAMES)
    for name in GRID_WORLDS:
        assert rljax.make(name) == GridWorld(name=name, **MAPS[name])
        assert rljax.make(name).name == name
    env = rljax.make("CliffWalking", limit=7, text="S.G")
    assert (env.limit, env.cells.size, env.step_reward) == (7, 3, -1.0)


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("CliffWalkin", {}, "env 'CliffWalkin' is not known; did you mean 'CliffWalking'"),
        ("CliffWalking", {"limits": 3}, "CliffWalking has no parameter 'limits'; did you mean 'li"),
        ("DynaMaze", {"changed": True}, "DynaMaze has no parameter 'changed'"),
    ],
)
def test_misspelt_names_are_refused_with_the_nearest(name, params, message):
    with pytest.raises(UsageError, match=message):
        rljax.make(name, **params)


def test_names_are_checked_without_importing_jax():
    program = """
import sys
from rljax import envs
envs.check_name("CliffWalking")
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
