"""Pictures of arcade games: MinAtar's, and bsuite's Catch."""

from functools import partial
from typing import Any

import numpy as np

from rljax.analysis.drawings.canvas import (
    BLUE,
    BROWN,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Canvas,
    Drawing,
    Legend,
    board,
    cells,
)


def _observed(legend: Legend, _: Any, state: Any, grid: np.ndarray) -> Canvas:
    return board(legend, grid)


def _catch(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    ball, paddle = (state.ball_y, state.ball_x), (state.paddle_y, state.paddle_x)
    return board({"paddle": BLUE, "ball": ORANGE}, cells(obs.shape, paddle, ball))


DRAWINGS: dict[str, Drawing] = {
    "Asterix-MinAtar": partial(_observed, {
        "player": BLUE, "enemy": VERMILION, "trail": GREY, "gold": YELLOW,
    }),
    "Breakout-MinAtar": partial(_observed, {
        "paddle": BLUE, "ball": INK, "trail": GREY, "brick": ORANGE,
    }),
    "Freeway-MinAtar": partial(_observed, {
        "chicken": BLUE, "car": INK, "trail, fastest": VERMILION, "trail, fast": ORANGE,
        "trail, medium": YELLOW, "trail, slow": GREEN, "trail, slowest": SKY,
    }),
    "Seaquest-MinAtar": partial(_observed, {
        "submarine, front": BLUE, "submarine, back": SKY, "own bullet": INK, "trail": GREY,
        "enemy bullet": VERMILION, "enemy fish": ORANGE, "enemy submarine": PURPLE,
        "oxygen": GREEN, "divers aboard": BROWN, "diver": YELLOW,
    }),
    "SpaceInvaders-MinAtar": partial(_observed, {
        "cannon": BLUE, "alien": INK, "moving left": ORANGE, "moving right": SKY,
        "own bullet": GREEN, "enemy bullet": VERMILION,
    }),
    "Catch-bsuite": _catch,
}  # fmt: skip
