"""Tasks of jumanji of several agents give what jumanji gives, and say why episodes end."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax.envs.check import check_env
from rljax.envs.foraging import Foraging, ForagingState
from rljax.errors import UsageError

pytest.importorskip("jumanji")

SMALL = {
    "LevelBasedForaging-v0": {"grid_size": 6, "fov": 6, "force_coop": False, "time_limit": 40},
    "RobotWarehouse-v0": {"shelf_rows": 1, "column_height": 1, "request_queue_size": 2},
    "Cleaner-v0": {"num_rows": 5, "num_cols": 5, "num_agents": 2, "time_limit": 30},
    "Connector-v3": {"grid_size": 5, "num_agents": 3},
}
LONG = [n for n in SMALL if n != "Cleaner-v0"]
NAMES = ["Cleaner-v0", *(pytest.param(name, marks=pytest.mark.long) for name in LONG)]
SLOW = ("Connector-v3", "RobotWarehouse-v0")
"""Whose programs take 20 seconds to compile."""


@cache
def small(name):
    env = rljax.make(f"jumanji/{name}", **SMALL[name])
    return env, jit(env.reset), jit(env.step), jit(env.env.step)


def told(name, seen, agent):
    """What an agent observes, from what jumanji shows."""
    if name in ("LevelBasedForaging-v0", "RobotWarehouse-v0"):
        return np.asarray(seen.agents_view)[agent]
    grid = np.asarray(seen.grid)
    if name == "Connector-v3":
        own = [grid == 1 + 3 * agent + kind for kind in range(3)]
        return np.stack([*own, *((grid > 0) & ((grid - 1) % 3 == kind) for kind in range(3))], -1)
    places = np.zeros((2, *grid.shape), bool)
    for i, (row, column) in enumerate(np.asarray(seen.agents_locations)):
        places[0, row, column] |= i == agent
        places[1, row, column] = True
    return np.stack([places[0], grid == 0, grid == 2, places[1]], -1)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_jumanji_s_own(name):
    env, reset, step, theirs = small(name)
    rng, ends = np.random.default_rng(0), set()
    state, obs = reset(jax.random.key(0))
    for t in range(120):
        mask = np.asarray(env.action_mask(state))
        np.testing.assert_array_equal(mask, state.seen.action_mask)
        for i in range(len(env.agents)):
            np.testing.assert_array_equal(obs[i], told(name, state.seen, i))
        # Sometimes an agent of the maze does what is illegal.
        wild = name == "Cleaner-v0" and t % 40 == 39
        action = jnp.array([rng.choice(np.flatnonzero(row != wild)) for row in mask])
        there, given = theirs(state.state, action)
        before = state
        state, obs, reward, terminated, truncated = step(jax.random.key(1), state, action)
        jax.tree.map(np.testing.assert_array_equal, state.seen, given.observation)
        np.testing.assert_array_equal(reward, np.broadcast_to(given.reward, len(env.agents)))
        assert (terminated | truncated) == given.last() and not terminated & truncated
        if given.last():
            late = bool(there.step_count >= env.env.time_limit)
            ends.add((bool(terminated), late))
            assert terminated or late
            if name in ("LevelBasedForaging-v0", "Connector-v3"):  # Jumanji says it of these.
                assert bool(terminated) == (not np.any(given.discount))
            if name == "Cleaner-v0":
                dirty = np.any(np.asarray(there.grid) == 0)
                assert bool(terminated) == (not dirty or wild)
                assert bool(env.success(state)) == (not dirty)
            state, obs = reset(jax.random.key(t))
        assert before is not state
    assert ends


@pytest.mark.long
def test_robots_that_collide_end_an_episode_and_so_does_time():
    env, reset, step, _ = small("RobotWarehouse-v0")
    state, _ = reset(jax.random.key(0))
    late = state._replace(state=state.state.replace(step_count=jnp.int32(499)))
    *_, terminated, truncated = step(jax.random.key(1), late, jnp.zeros(4, jnp.int32))
    assert truncated and not terminated
    # Two robots that look at each other's cell, and both go there: only one can have it.
    agents = state.state.agents
    x, y = np.asarray(agents.position.x), np.asarray(agents.position.y)
    grid = np.asarray(state.state.grid).copy()
    grid[1, x[0], y[0]] = 2
    hit = late._replace(state=late.state.replace(grid=jnp.asarray(grid)))
    *_, terminated, truncated = step(jax.random.key(1), hit, jnp.zeros(4, jnp.int32))
    assert terminated and not truncated


@pytest.mark.parametrize("name", NAMES)
def test_spaces_teams_and_the_global_state(name):
    env, reset, *_ = small(name)
    state, obs = reset(jax.random.key(0))
    assert obs.shape == (len(env.agents), *env.observation_space.shape)
    assert env.teams == (tuple(range(len(env.agents))),)
    assert env.shared_reward == (name in ("Cleaner-v0", "RobotWarehouse-v0"))
    known = env.global_state(state)
    assert known.shape == env.state_space.shape and known.dtype == jnp.float32
    counts = {"Cleaner-v0": 25 * (2 + 3), "Connector-v3": 25 * (9 + 3)}
    assert known.size == counts.get(name, obs.size)


@pytest.mark.long
def test_foraging_of_our_own_is_the_same_where_nobody_walks_to_where_somebody_stands():
    _, reset, _, theirs = small("LevelBasedForaging-v0")
    own = Foraging(size=6, food=2, limit=40)
    step, rng, paid = jit(own.step), np.random.default_rng(0), 0.0
    state = None
    for t in range(120):
        if state is None:
            there, seen = reset(jax.random.key(t))[0]
            state = ours(there)
        mask = np.asarray(seen.action_mask)
        # Jumanji forbids a cell that somebody stands on, who may leave it in the same step.
        assert np.all(own.action_mask(state) | ~mask)
        loads = mask[:, -1] & (rng.random(2) < 0.7)
        walks = [rng.choice(np.flatnonzero(row)) for row in mask]
        action = jnp.where(loads, 5, jnp.array(walks))
        there, given = theirs(there, action)
        seen = given.observation
        state, obs, reward, terminated, truncated = step(jax.random.key(0), state, action)
        expected = ours(there)
        np.testing.assert_array_equal(state.players, expected.players)
        np.testing.assert_array_equal(state.food, expected.food)
        np.testing.assert_allclose(reward, given.reward, rtol=1e-6)
        views = np.asarray(seen.agents_view).reshape(2, 4, 3)
        for view, own_view in zip(views, np.asarray(obs).reshape(2, 4, 3), strict=True):
            np.testing.assert_array_equal(own_view[2:], view[2:])
            assert sorted(own_view[:2].tolist()) == sorted(view[:2].tolist())
        assert (terminated | truncated) == given.last()
        paid += float(reward.sum())
        state = None if given.last() else state
    assert paid > 1


def ours(there):
    """A state of jumanji's foraging as one of ours."""
    food = there.food_items
    order = np.lexsort(np.asarray(food.position).T[::-1])
    level = np.where(food.eaten, 0, food.level)
    return ForagingState(
        jnp.column_stack([there.agents.position, there.agents.level]),
        jnp.column_stack([food.position, level])[order],
        jnp.sum(food.level),
        there.step_count,
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=getattr(pytest.mark, "slow" if n in SLOW else "long")) for n in SMALL],
)
def test_check_env_finds_nothing(name):
    assert not check_env(small(name)[0])


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        pytest.param("Cleaner-v0", "ippo", marks=pytest.mark.slow),
        pytest.param("Connector-v3", "qmix", marks=pytest.mark.slow),
    ],
)
def test_agents_learn_on_it(name, agent):
    env, sizes = small(name)[0], {"num_envs": 2, "rollout_length": 4, "hidden": (8,)}
    if agent == "ippo":
        sizes |= {"num_minibatches": 1, "agent_index": False}
        built = rljax.ippo(env, **sizes, total_env_steps=16)
    else:
        sizes |= {"warmup_env_steps": 8, "batch_size": 4, "network": "mlp"}
        built = rljax.qmix(env, **sizes, total_env_steps=16)
    state, rows = rljax.train(built, jax.random.key(0))
    assert rows and int(state.iteration) == built.num_iterations


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("jumanji/Snake-v1", {}, "env 'jumanji/Snake-v1' is not known"),
        ("jumanji/Cleaner-v1", {}, "did you mean 'jumanji/Cleaner-v0'"),
        ("jumanji/Cleaner-v0", {"speed": 2}, "has no parameter 'speed'"),
        ("jumanji/LevelBasedForaging-v0", {"grid_size": 2}, "cannot be made with grid_size"),
    ],
)
def test_what_is_not_there_is_refused(name, params, said):
    with pytest.raises(UsageError, match=said):
        rljax.make(name, **params)
