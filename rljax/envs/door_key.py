"""A key, a locked door and a goal behind it.

>>> import rljax
>>> rljax.make("DoorKey6x6").observation_space.shape
(6, 6, 10)
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.grid_world import MOVES
from rljax.errors import UsageError
from rljax.types import Action, Key, Obs

LEFT, RIGHT, FORWARD, PICK_UP, TOGGLE = range(5)
CHANNELS = ("wall", "goal", "key", "locked door", "open door", "up", "right", "down", "left", "has")
"""Of observations: things, the agent by the direction it faces, and, everywhere, whether it has the
key."""


class DoorKeyState(NamedTuple):
    """Where everything is. Places are (row, column), int32 [2]."""

    position: jax.Array  # [2] of the agent
    direction: jax.Array  # [] int32, 0 up, 1 right, 2 down, 3 left
    key: jax.Array  # [2] where the key lies, or lay
    door: jax.Array  # [2] in the wall that divides the room
    has_key: jax.Array  # [] bool
    is_open: jax.Array  # [] bool, of the door
    time: jax.Array  # [] int32, steps of the episode so far


@dataclass(frozen=True)
class DoorKey:
    """An agent fetches a key, unlocks a door and walks to a goal, as in MiniGrid's DoorKey.

    The room is `size` x `size` cells, with walls around it and a wall across it. The column of that
    wall, the row of its door, the places of the agent and of the key to the left of it, and the
    direction that the agent faces, are random. The goal is in the lower right corner.

    Actions are 0 turn left, 1 turn right, 2 forward, 3 pick up the key in front, 4 open or close
    the door in front, which needs the key. The goal pays 1 - 0.9 x (steps taken) / limit and
    terminates; all else pays nothing. Episodes are truncated after limit = 10 size^2 steps.

    Observed is the whole room, bool [size, size, 10], see `CHANNELS`. MiniGrid shows the 7 x 7
    cells in front of the agent, and has two more actions, which are of no use here.

    Raises UsageError for a size below 5.

    Source: Chevalier-Boisvert et al. 2023, https://arxiv.org/abs/2306.13831.
    """

    size: int = 6
    action_space = spaces.Discrete(5)

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 5:
            raise UsageError(f"{self.name}: size must be a whole number of at least 5")

    @property
    def name(self) -> str:
        """With its size."""
        return f"DoorKey{self.size}x{self.size}"

    @property
    def observation_space(self) -> spaces.Box:
        """The room."""
        return spaces.Box(0, 1, (self.size, self.size, len(CHANNELS)), np.bool_)

    @property
    def limit(self) -> int:
        """Steps after which an episode is truncated."""
        return 10 * self.size**2

    def reset(self, key: Key) -> tuple[DoorKeyState, Obs]:
        """A random room; consumes the key."""
        key_wall, key_door, key_agent, key_key, key_direction = jax.random.split(key, 5)
        wall = jax.random.randint(key_wall, (), 2, self.size - 2)
        door = jax.random.randint(key_door, (), 1, self.size - 2)
        # Cells left of the wall, by number; the key is in another than the agent.
        columns = wall - 1
        cells = (self.size - 2) * columns
        agent = jax.random.randint(key_agent, (), 0, cells)
        other = (agent + jax.random.randint(key_key, (), 1, cells)) % cells

        def place(number: jax.Array) -> jax.Array:
            return 1 + jnp.stack([number // columns, number % columns])

        state = DoorKeyState(
            position=place(agent),
            direction=jax.random.randint(key_direction, (), 0, len(MOVES)),
            key=place(other),
            door=jnp.stack([door, wall]),
            has_key=jnp.bool_(False),
            is_open=jnp.bool_(False),
            time=jnp.int32(0),
        )
        return state, self._observe(state)

    def step(self, key: Key, state: DoorKeyState, action: Action):
        """One action; the key is not used."""
        turn = jnp.where(action == RIGHT, 1, jnp.where(action == LEFT, -1, 0))
        front = state.position + jnp.array(MOVES)[state.direction]
        at_key = jnp.all(front == state.key) & ~state.has_key
        at_door = jnp.all(front == state.door)
        free = ~self._walls(state)[front[0], front[1]] & ~at_key & (~at_door | state.is_open)
        state = DoorKeyState(
            position=jnp.where((action == FORWARD) & free, front, state.position),
            direction=(state.direction + turn) % len(MOVES),
            key=state.key,
            door=state.door,
            has_key=state.has_key | ((action == PICK_UP) & at_key),
            is_open=state.is_open ^ ((action == TOGGLE) & at_door & state.has_key),
            time=state.time + 1,
        )
        there = self.success(state)
        reward = jnp.where(there, 1.0 - 0.9 * state.time / self.limit, 0.0)
        return state, self._observe(state), reward, there, state.time >= self.limit

    def success(self, state: DoorKeyState) -> jax.Array:
        """Whether the agent is at the goal."""
        return jnp.all(state.position == self.size - 2)

    def _walls(self, state: DoorKeyState) -> jax.Array:
        """Which cells are walls, bool [size, size]; the door is none."""
        row, column = np.indices((self.size, self.size))
        edge = (np.minimum(row, column) == 0) | (np.maximum(row, column) == self.size - 1)
        return edge | ((column == state.door[1]) & (row != state.door[0]))

    def _observe(self, state: DoorKeyState) -> Obs:
        row, column = np.indices((self.size, self.size))

        def at(place: jax.Array) -> jax.Array:
            return (row == place[0]) & (column == place[1])

        agent, door = at(state.position), at(state.door)
        goal = (row == self.size - 2) & (column == self.size - 2)
        planes = [
            self._walls(state),
            jnp.asarray(goal),
            at(state.key) & ~state.has_key,
            door & ~state.is_open,
            door & state.is_open,
            *(agent & (state.direction == direction) for direction in range(len(MOVES))),
            jnp.broadcast_to(state.has_key, goal.shape),
        ]
        return jnp.stack(planes, axis=-1)
