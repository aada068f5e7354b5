"""Grid worlds drawn as text, small enough that their exact solution is known.

>>> from rljax.envs.grid_world import GridWorld
>>> env = GridWorld('''
...     S . . #
...     . C ~ .
...     . . . G
... ''', step_reward=-1.0, slip=0.2)
>>> env.observation_space.n, env.transition_model().probability.shape
(12, (12, 4, 12))
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import check_parameters, spaces
from rljax.errors import UsageError, check_positive
from rljax.types import Action, Key, Obs

CELLS = {
    "S": "start",
    "s": "start on slippery floor",
    "G": "goal",
    "H": "hole",
    "C": "cliff",
    "#": "wall",
    ".": "floor",
    "~": "slippery floor",
}
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # (row, column) of up, right, down, left
TURNS = (0, 1, 3)  # quarters clockwise: as meant, and slipped to either side


class GridState(NamedTuple):
    """Where the agent is, and for how long it has been under way."""

    position: jax.Array  # [] int32, the cell's number in reading order
    time: jax.Array  # [] int32, steps of the episode so far


class TransitionModel(NamedTuple):
    """What a step does on average, float64 NumPy arrays over S cells and A actions.

    `probability` is that of going on: steps that end the episode are missing from it, so its rows
    sum to the chance of going on, and r + gamma P v never bootstraps from an end.
    """

    probability: np.ndarray  # [S, A, S] from cell and action to the cell the agent goes on from
    reward: np.ndarray  # [S, A] expected
    start: np.ndarray  # [S] how likely an episode begins here


@dataclass(frozen=True)
class GridWorld:
    """An agent that walks on a map: its place is what it sees, its moves are the four directions.

    `text` has one line for each row; spaces do not count. Its cells:

    - `S` start; of several, each episode begins at any, all equally likely
    - `G` goal: pays `goal_reward` and terminates
    - `H` hole: pays `hole_reward` and terminates
    - `C` cliff: pays `cliff_reward` and sends the agent back to a start; the episode goes on
    - `.` floor: pays `step_reward`, as a start does
    - `#` wall: the agent stays where it is, and so it does at the edge of the map
    - `~` slippery floor: with probability `slip` a move from here goes to one of its two sides
      instead, either equally likely; with 2/3 all three directions are
    - `s` a start on slippery floor

    Observed is the number of the cell in reading order, walls included; actions are 0 up, 1 right,
    2 down and 3 left. Episodes are truncated after `limit` steps, which the agent cannot see.

    Raises UsageError for a text that is no such map, a slip outside [0, 1] or a limit below 1.

    Source: cliffs are those of Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., Example 6.6,
    slipping is that of https://gymnasium.farama.org/environments/toy_text/frozen_lake.
    """

    text: str
    step_reward: float = 0.0
    goal_reward: float = 1.0
    cliff_reward: float = -1.0
    hole_reward: float = 0.0
    slip: float = 2 / 3
    limit: int = 100
    name: str = "GridWorld"
    action_space = spaces.Discrete(len(MOVES))

    def __post_init__(self) -> None:
        check_positive(limit=self.limit)
        if not 0 <= self.slip <= 1:
            raise UsageError(f"{self.name}: slip must be from 0 to 1, not {self.slip!r}")
        if not np.isin(self.cells, ("S", "s")).any():
            raise UsageError(f"{self.name}: text has no start: write S where episodes begin")

    @property
    def observation_space(self) -> spaces.Discrete:
        """The cells."""
        return spaces.Discrete(self.cells.size)

    @cached_property
    def cells(self) -> np.ndarray:
        """The map, one character each [rows, columns]."""
        return parse(self.text, self.name)

    @cached_property
    def reached(self) -> np.ndarray:
        """The cell that a move in each direction arrives at, int32 [S, 4], before any fall."""
        cells = self.cells
        number = np.arange(cells.size, dtype=np.int32).reshape(cells.shape)
        place, last = np.indices(cells.shape), np.array(cells.shape)[:, None, None] - 1
        there = [tuple(np.clip(place + np.reshape(m, (2, 1, 1)), 0, last)) for m in MOVES]
        moved = [np.where(cells[at] == "#", number, number[at]) for at in there]
        return np.stack(moved, axis=-1).reshape(-1, len(MOVES))

    @cached_property
    def arrival_reward(self) -> np.ndarray:
        """What arriving at each cell pays, float64 [S]."""
        pays = {"G": self.goal_reward, "H": self.hole_reward, "C": self.cliff_reward}
        return np.array([pays.get(cell, self.step_reward) for cell in self.cells.flat], float)

    @cached_property
    def slip_probability(self) -> np.ndarray:
        """How likely a move from each cell goes astray, float64 [S]."""
        return self.slip * self._is("~s")

    @cached_property
    def starts(self) -> np.ndarray:
        """The cells where episodes may begin, int32 [number of them]."""
        return np.flatnonzero(self._is("Ss")).astype(np.int32)

    def _is(self, kinds: str) -> np.ndarray:
        """Whether each cell is one of `kinds`, bool [S]."""
        return np.isin(self.cells.ravel(), list(kinds))

    def _start(self, key: Key) -> jax.Array:
        if len(self.starts) == 1:
            return jnp.int32(self.starts[0])
        return jax.random.choice(key, jnp.asarray(self.starts))

    def reset(self, key: Key) -> tuple[GridState, Obs]:
        """On a start; consumes the key."""
        start = self._start(key)
        return GridState(start, jnp.int32(0)), start

    def step(self, key: Key, state: GridState, action: Action):
        """One move, paid for by where it arrives; consumes the key."""
        cliff, end = self._is("C"), self._is("GH")
        key_slip = key_start = key
        if self.slip_probability.any() and len(self.starts) > 1:  # Most maps need one key at most.
            key_slip, key_start = jax.random.split(key)
        if self.slip_probability.any():
            slip = jnp.asarray(self.slip_probability)[state.position]
            chance = jax.random.uniform(key_slip)
            turn = jnp.where(chance < slip / 2, TURNS[1], TURNS[2])
            action = jnp.where(chance < slip, action + turn, action) % len(MOVES)
        cell = jnp.asarray(self.reached)[state.position, action]
        reward, terminated = jnp.asarray(self.arrival_reward)[cell], jnp.asarray(end)[cell]
        if cliff.any():
            cell = jnp.where(jnp.asarray(cliff)[cell], self._start(key_start), cell)
        time = state.time + 1
        return GridState(cell, time), cell, reward, terminated, time >= self.limit

    def success(self, state: GridState) -> jax.Array:
        """Whether the agent stands on a goal."""
        return jnp.asarray(self._is("G"))[state.position]

    def transition_model(self) -> TransitionModel:
        """The exact dynamics, without the time limit.

        Cells where no step begins (walls, cliffs, holes, goals) have probability and reward 0.
        """
        size, (cliff, end) = self.cells.size, (self._is("C"), self._is("GH"))
        start = np.bincount(self.starts, minlength=size) / len(self.starts)
        onwards = np.eye(size)  # from the cell arrived at to the one to go on from
        onwards[cliff], onwards[end] = start, 0.0
        probability, reward = np.zeros((size, len(MOVES), size)), np.zeros((size, len(MOVES)))
        slip = self.slip_probability
        for turn, share in zip(TURNS, (1 - slip, slip / 2, slip / 2), strict=True):
            reached = np.roll(self.reached, -turn, axis=1)
            probability += share[:, None, None] * onwards[reached]
            reward += share[:, None] * self.arrival_reward[reached]
        nobody = cliff | end | self._is("#")
        probability[nobody], reward[nobody] = 0.0, 0.0
        return TransitionModel(probability, reward, start)


def parse(text: str, name: str = "GridWorld") -> np.ndarray:
    """The characters of a map, [rows, columns], without spaces and empty lines.

    Raises UsageError, which begins with `name`, for characters that are no cell of `CELLS` and for
    rows of different lengths.
    """
    if not isinstance(text, str):
        raise UsageError(f"{name}: text must be one string, a line for each row, not {text!r}")
    rows: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for column, cell in enumerate(line, 1):
            if cell not in CELLS and not cell.isspace():
                known = ", ".join(f"{c} ({meaning})" for c, meaning in CELLS.items())
                raise UsageError(
                    f"{name}: text has {cell!r} at line {number}, column {column}; "
                    f"write one of {known}"
                )
        if line.strip():
            rows[number] = "".join(line.split())
    first = next(iter(rows), 0)
    for number, row in rows.items():
        if len(row) != len(rows[first]):
            raise UsageError(
                f"{name}: line {number} of text has {len(row)} cells but line {first} has "
                f"{len(rows[first])}; make them equal, with # where there is nothing"
            )
    return np.array([list(row) for row in rows.values()], dtype="<U1")


MAPS: dict[str, dict[str, Any]] = {
    # Sutton & Barto 2018, Example 6.6; undiscounted there, and without a time limit.
    "CliffWalking": {
        "text": """
            . . . . . . . . . . . .
            . . . . . . . . . . . .
            . . . . . . . . . . . .
            S C C C C C C C C C C G
        """,
        "step_reward": -1.0,
        "goal_reward": -1.0,
        "cliff_reward": -100.0,
        "limit": 500,
    },
    # Gymnasium's FrozenLake-v1 and FrozenLake8x8-v1, but for the order of the actions.
    "FrozenLake4x4": {
        "text": """
            s ~ ~ ~
            ~ H ~ H
            ~ ~ ~ H
            H ~ ~ G
        """,
        "limit": 100,
    },
    "FrozenLake8x8": {
        "text": """
            s ~ ~ ~ ~ ~ ~ ~
            ~ ~ ~ ~ ~ ~ ~ ~
            ~ ~ ~ H ~ ~ ~ ~
            ~ ~ ~ ~ ~ H ~ ~
            ~ ~ ~ H ~ ~ ~ ~
            ~ H H ~ ~ ~ H ~
            ~ H ~ ~ H ~ H ~
            ~ ~ ~ H ~ ~ ~ G
        """,
        "limit": 200,
    },
    # Three ways to the goal: 11 steps along a cliff, 19 past a hole, 23 on firm floor. The second
    # is the best here, the first without slipping, the third if it is twice as likely.
    "GridWorld10x10": {
        "text": """
            . . . . . . . . . .
            . # # # # . # # # .
            . # . . . . . . # .
            . # . # # # # . # .
            . . . # ~ ~ ~ . . .
            . # . # ~ H ~ # # .
            . # . . ~ ~ ~ ~ . .
            . # # # # # # # # .
            ~ ~ ~ ~ ~ ~ ~ ~ ~ .
            S C C C C C C C C G
        """,
        "step_reward": -1.0,
        "goal_reward": 10.0,
        "cliff_reward": -20.0,
        "hole_reward": -20.0,
        "slip": 0.1,
        "limit": 200,
    },
    # Sutton & Barto 2018, figures 8.2, 8.4 and 8.5; without a time limit there.
    "DynaMaze": {
        "text": """
            . . . . . . . # G
            . . # . . . . # .
            S . # . . . . # .
            . . # . . . . . .
            . . . . . # . . .
            . . . . . . . . .
        """,
        "limit": 500,
    },
    "BlockingMaze": {
        "text": """
            . . . . . . . . G
            . . . . . . . . .
            . . . . . . . . .
            # # # # # # # # .
            . . . . . . . . .
            . . . S . . . . .
        """,
        "limit": 500,
    },
    "ShortcutMaze": {
        "text": """
            . . . . . . . . G
            . . . . . . . . .
            . . . . . . . . .
            . # # # # # # # #
            . . . . . . . . .
            . . . S . . . . .
        """,
        "limit": 500,
    },
}
"""Ready-made worlds: the name that `rljax.make` knows, and what to give `GridWorld`."""

CHANGED = {
    "BlockingMaze": MAPS["BlockingMaze"]["text"].replace("# # # # # # # # .", ". # # # # # # # #"),
    "ShortcutMaze": MAPS["ShortcutMaze"]["text"].replace(". # # # # # # # #", ". # # # # # # # ."),
}
"""The maps of worlds that change while somebody learns in them: what they are afterwards."""


def make(name: str, **params: Any) -> GridWorld:
    """The world of `MAPS` called `name`; `params` override its fields.

    Those of `CHANGED` have a parameter `changed`, too: True for the world after the change. A state
    of an agent in one of both fits the other.
    """
    known = [f.name for f in fields(GridWorld)] + ["changed"] * (name in CHANGED)
    check_parameters(name, params, known)
    given = dict(MAPS[name])
    if params.pop("changed", False):
        given["text"] = CHANGED[name]
    return GridWorld(**{"name": name, **given, **params})
