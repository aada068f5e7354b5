"""Pictures of games with boards, tables and riddles."""

from typing import Any

import numpy as np

from rljax.analysis.drawings.canvas import (
    BLUE,
    GREEN,
    HEADER,
    ORANGE,
    PALE,
    VERMILION,
    WIDTH,
    YELLOW,
    Canvas,
    Drawing,
    board,
    cells,
    piece,
)


def _connect_four(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    rows, columns, _ = state.board.shape
    canvas = board({"agent": BLUE, "other player": ORANGE}, np.zeros((rows, columns, 0)))
    for height, column, player in np.argwhere(state.board):
        piece(canvas, rows, rows - 1 - height, column, (BLUE, ORANGE)[player])
    return canvas


def _in_a_row(env: Any, state: Any, _: np.ndarray) -> Canvas:
    legend = dict(zip(env.players, (BLUE, ORANGE), strict=True))
    canvas = board(legend, np.zeros((env.rows, env.columns, 0)))
    for row, column, player in np.argwhere(state.board):
        row = env.rows - 1 - row if env.falls else row
        piece(canvas, env.rows, row, column, (BLUE, ORANGE)[player])
    return canvas


def _bit_flip(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    nothing = np.zeros_like(state.now)
    now = np.stack([state.now, nothing, state.now != state.goal], axis=-1)
    goal = np.stack([nothing, state.goal, nothing], axis=-1)
    return board({"bit": BLUE, "of the goal": GREEN, "differs": VERMILION}, np.stack([now, goal]))


def _riddle(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    """Draw the light over the prisoner who is in the room, and all prisoners below."""
    lit = [(0, state.room)] if state.light else []
    been = [(1, i) for i in np.flatnonzero(state.been)]
    grid = cells((2, len(state.been)), lit, (1, state.room), been)
    return board({"light": YELLOW, "in the room": BLUE, "has been there": GREEN}, grid)


def words(payoffs: np.ndarray) -> list[list[str]]:
    """What is written into the cells of a table [A, A, M] of payoffs."""
    return [[", ".join(f"{x:g}" for x in paid) for paid in row] for row in payoffs]


def _table(canvas: Canvas, left: float, paid: list[list[str]], chosen: Any, title: str) -> None:
    """Draw words [A, A] from (left, 0) up, with a row for each action of the first agent.

    `chosen` is the (row, column) to mark, or None.
    """
    size = len(paid)
    canvas.label((left + size / 2, size + 0.25), title)
    for row, column in np.ndindex(size, size):
        marked = chosen is not None and (row, column) == tuple(chosen)
        colour = YELLOW if marked else PALE
        canvas.box(left + column + 0.02, size - row - 0.98, 0.96, 0.96, colour)
        canvas.label((left + column + 0.5, size - row - 0.5), paid[row][column])


def _matrix_game(env: Any, state: Any, _: np.ndarray) -> Canvas:
    paid = words(np.array(env.payoffs)[..., : 1 if env.shared_reward else None])
    canvas = Canvas(((WIDTH - 210) / 2, HEADER + 260), 210 / len(paid))
    _table(canvas, 0, paid, state.action, f"rows: {env.agents[0]}, columns: {env.agents[1]}")
    return canvas


def _two_step(env: Any, state: Any, _: np.ndarray) -> Canvas:
    canvas = Canvas((WIDTH / 2 - 175, HEADER + 210), 70)
    for place, (left, title) in enumerate(((0, "2A"), (3, "2B")), 1):
        here = state.place == place
        paid = words(np.array(env.payoffs[place])[..., None])
        _table(canvas, left, paid, state.action if here and state.time > 1 else None, title)
        if here:
            canvas.line([(left, -0.15), (left + 2, -0.15)], BLUE, 3)
    return canvas


DRAWINGS: dict[str, Drawing] = {
    "ConnectFour": _connect_four,
    "ConnectFourGame": _in_a_row,
    "TicTacToeGame": _in_a_row,
    "BitFlip": _bit_flip,
    "SwitchRiddle": _riddle,
    "Climbing": _matrix_game,
    "Penalty": _matrix_game,
    "PrisonersDilemma": _matrix_game,
    "TwoStep": _two_step,
}
