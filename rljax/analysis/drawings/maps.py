"""Pictures of agents that walk on maps."""

from typing import Any

import numpy as np

from rljax.analysis.drawings.canvas import (
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ICE,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Canvas,
    Drawing,
    board,
    cells,
    circle,
    piece,
)

_WALLS = [(r, c) for r in range(13) for c in range(13) if r in (0, 12) or c in (0, 6, 12)]
_WALLS += [(6, c) for c in range(1, 6)] + [(7, c) for c in range(7, 12)]
_WALLS = [wall for wall in _WALLS if wall not in ((3, 6), (10, 6), (6, 2), (7, 9))]


def _four_rooms(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    legend = {"wall": GREY, "goal": GREEN, "agent": BLUE}
    return board(legend, cells((13, 13), _WALLS, state.goal, state.pos))


_GROUND = {  # what a cell of a grid world is, the characters that say so, and its colour
    "wall": ("#", GREY),
    "cliff": ("C", VERMILION),
    "hole": ("H", INK),
    "slippery floor": ("~s", ICE),
    "start": ("Ss", YELLOW),
    "goal": ("G", GREEN),
}


def grid_world(env: Any, state: Any, _: np.ndarray) -> Canvas:
    """Draw the `cells` of a grid world, and the agent at its position in reading order."""
    return _ground(env.cells, state)


def _ground(characters: np.ndarray, state: Any) -> Canvas:
    """Draw a map of characters [rows, columns] with the agent on it."""
    grounds = {name: np.isin(characters, list(kinds)) for name, (kinds, _) in _GROUND.items()}
    legend = {name: _GROUND[name][1] for name, lit in grounds.items() if lit.any()}
    grid = np.stack([grounds[name] for name in legend], axis=-1)
    canvas = board({**legend, "agent": BLUE}, grid)
    row, column = divmod(int(state.position), characters.shape[1])
    piece(canvas, len(characters), row, column, BLUE)
    return canvas


# The lake that gymnax makes by default; its state holds no map to tell another one by.
_LAKE = np.array([list(row) for row in ("s~~~", "~H~H", "~~~H", "H~~G")])


def _lake(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    return _ground(_LAKE, state)


def _door_key(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    things = {"wall": GREY, "goal": GREEN, "key": YELLOW, "locked door": BROWN, "open door": ORANGE}
    canvas = board({**things, "agent": BLUE}, obs[..., : len(things)])
    row, column = state.position
    middle = np.array([column + 0.5, len(obs) - row - 0.5])
    ahead = np.pi / 2 * (1 - float(state.direction))  # 0 is up, and 1 is right
    canvas.polygon(middle + circle(ahead + np.array([0, 2.4, -2.4]), 0.38), BLUE)
    if state.has_key:
        canvas.disc(middle, 0.1, YELLOW)
    return canvas


_PLAYERS = (BLUE, ORANGE, PURPLE, VERMILION, SKY, BROWN, YELLOW, GREY, INK)


def _foraging(env: Any, state: Any, _: np.ndarray) -> Canvas:
    legend = {"food": GREEN}
    colours = [_PLAYERS[i % len(_PLAYERS)] for i in range(len(env.agents))]
    legend |= dict(zip(env.agents, colours, strict=True))
    left = state.food[state.food[:, 2] > 0]
    canvas = board(legend, cells((env.size, env.size), left[:, :2]))
    for row, column, level in left:
        canvas.label((column + 0.5, env.size - row - 0.5), str(level), PAPER)
    for (row, column, level), colour in zip(state.players, colours, strict=True):
        canvas.label(piece(canvas, env.size, row, column, colour), str(level), PAPER)
    return canvas


DRAWINGS: dict[str, Drawing] = {
    "FourRooms-misc": _four_rooms,
    "FrozenLake-misc": _lake,
    "DoorKey": _door_key,
    "Foraging": _foraging,
}
