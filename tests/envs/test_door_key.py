"""Rooms with a key and a door: they can be solved, as a plain search says, and not otherwise."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs.door_key import CHANNELS, FORWARD, LEFT, PICK_UP, RIGHT, TOGGLE, DoorKey
from rljax.envs.grid_world import MOVES
from rljax.errors import UsageError


def after(room, at, action):
    """The plain model: what (row, column, direction, has key, open) becomes by an action."""
    size, key, door = room
    row, column, direction, has, is_open = at
    there = (row + MOVES[direction][0], column + MOVES[direction][1])
    wall = min(there) == 0 or max(there) == size - 1 or (there[1] == door[1] and there != door)
    if action in (LEFT, RIGHT):
        direction = (direction + (1 if action == RIGHT else -1)) % 4
    blocked = wall or (there == key and not has) or (there == door and not is_open)
    if action == FORWARD and not blocked:
        row, column = there
    if action == TOGGLE and there == door and has:
        is_open = not is_open
    if action == PICK_UP and there == key:
        has = True
    return row, column, direction, has, is_open


def described(state) -> tuple:
    place = tuple(int(x) for x in state.position)
    return *place, int(state.direction), bool(state.has_key), bool(state.is_open)


def room_of(env, state) -> tuple:
    key, door = (tuple(int(x) for x in place) for place in (state.key, state.door))
    return env.size, key, door


def shortest(env, state) -> list[int]:
    """The fewest actions to the goal, by breadth-first search in the plain model."""
    room, start = room_of(env, state), described(state)
    came, queue = {start: None}, deque([start])
    while queue:
        at = queue.popleft()
        if at[:2] == (env.size - 2, env.size - 2):
            plan = []
            while came[at] is not None:
                at, action = came[at]
                plan.append(action)
            return plan[::-1]
        for action in range(5):
            if (following := after(room, at, action)) not in came:
                came[following] = (at, action)
                queue.append(following)
    raise AssertionError("no way to the goal")


@pytest.mark.parametrize("size", [5, 8])
def test_the_shortest_plan_of_a_plain_search_ends_at_the_goal_and_is_paid(size):
    env = DoorKey(size)
    step = jax.jit(env.step)
    for seed in range(3):
        state, obs = env.reset(jax.random.key(seed))
        plan = shortest(env, state)
        assert len(plan) > 5
        for i, action in enumerate(plan, 1):
            expected = after(room_of(env, state), described(state), action)
            state, obs, reward, terminated, truncated = step(jax.random.key(0), state, action)
            assert described(state) == expected
            assert bool(terminated) == (i == len(plan)) and not truncated
        assert reward == pytest.approx(1 - 0.9 * len(plan) / (10 * size**2))
        assert env.success(state) and obs[..., CHANNELS.index("has")].all()


def test_random_steps_are_those_of_the_plain_model():
    env, rng = DoorKey(5), np.random.default_rng(0)
    state, _ = env.reset(jax.random.key(1))
    actions = rng.choice(5, 600, p=[0.2, 0.2, 0.3, 0.15, 0.15])

    def one(state, action):
        following, obs, reward, terminated, truncated = env.step(jax.random.key(0), state, action)
        return following, (state, following, obs, reward, terminated, truncated)

    _, seen = jax.device_get(jax.jit(lambda s: jax.lax.scan(one, s, jnp.array(actions)))(state))
    before, following, obs, reward, terminated, truncated = seen
    opened = False
    for t, action in enumerate(actions):
        old, new = (jax.tree.map(lambda x, t=t: x[t], tree) for tree in (before, following))
        assert described(new) == after(room_of(env, old), described(old), action)
        opened |= bool(new.is_open)
        row, column, direction, has, is_open = described(new)
        planes = {name: obs[t, ..., i] for i, name in enumerate(CHANNELS)}
        facing = [planes[name] for name in ("up", "right", "down", "left")]
        assert np.sum(facing) == 1 and facing[direction][row, column]
        assert planes["has"].all() == has and planes["key"].any() == (not has)
        assert planes["open door"].any() == is_open and planes["locked door"].any() != is_open
        assert not planes["wall"][row, column]
        assert (reward[t] > 0) == terminated[t] == planes["goal"][row, column]
    assert opened and not truncated[:249].any() and truncated[249]


@pytest.mark.long
def test_rooms_are_what_they_should_be():
    env = rljax.make("DoorKey6x6")
    states, obs = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 300))
    agent, key, door = (np.asarray(x) for x in (states.position, states.key, states.door))
    assert (agent != key).any(1).all()
    for place in (agent, key):
        assert (place >= 1).all() and (place[:, 0] <= 4).all() and (place[:, 1] < door[:, 1]).all()
        assert {tuple(p) for p in place} >= {(r, 1) for r in range(1, 5)}
    assert set(door[:, 1]) == {2, 3} and set(door[:, 0]) == {1, 2, 3}
    assert set(np.asarray(states.direction)) == {0, 1, 2, 3}
    assert obs.dtype == bool and obs.shape[1:] == env.observation_space.shape
    assert not [finding for finding in rljax.check_env(env) if finding.is_error]


def test_a_size_without_room_is_refused():
    with pytest.raises(UsageError, match="DoorKey4x4: size must be a whole number of at least 5"):
        rljax.make("DoorKey5x5", size=4)
