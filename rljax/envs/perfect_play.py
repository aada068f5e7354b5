"""Perfect play of games that are small enough to be searched to their ends."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs.board_games import DIRECTIONS, InARow
from rljax.envs.opponents import Opponent
from rljax.envs.states import WithState
from rljax.errors import UsageError
from rljax.types import Action, EnvState, Key, Obs

MOST_CELLS = 9
"""Of a board whose positions are all in one table: 3^9 of them."""


def perfect_move(game: InARow) -> Opponent:
    """Who takes one of the best moves, all equally likely.

    Raises UsageError for a game that is too large.
    """
    inner = game.env if isinstance(game, WithState) else game
    if not isinstance(inner, InARow) or inner.falls or inner.rows * inner.columns > MOST_CELLS:
        raise UsageError(
            f"perfect play is computed for tic-tac-toe, and {game.name} is too large for that: "
            "play against mcts or random"
        )
    best = jnp.asarray(best_moves(inner))

    def move(key: Key, state: EnvState, obs: Obs) -> Action:
        place = jnp.sum(state.board.reshape(-1, 2) @ jnp.array([1, 2]) * _powers(inner))
        return jax.random.categorical(key, jnp.where(best[place], 0.0, -jnp.inf))

    return move


@cache
def best_moves(game: InARow) -> np.ndarray:
    """Which moves are the best in each position, bool [3^cells, cells]; all in other positions.

    The number of a position is the sum of 3^cell x (1 for a disc of who moves first, 2 for one of
    the other). Found by minimax.
    """
    cells = game.rows * game.columns
    lines = _lines(game)
    best = np.ones((3**cells, cells), bool)
    values: dict[int, int] = {}
    powers = [int(power) for power in _powers(game)]

    def value(board: tuple[int, ...], place: int, mover: int) -> int:
        """What the game is worth to `mover`, 1 or 2, who is to move."""
        if place in values:
            return values[place]
        worth = np.full(cells, -2)
        for cell in range(cells):
            if board[cell] == 0:
                after = (*board[:cell], mover, *board[cell + 1 :])
                if any(all(after[c] == mover for c in line) for line in lines[cell]):
                    worth[cell] = 1
                elif 0 not in after:
                    worth[cell] = 0
                else:
                    worth[cell] = -value(after, place + mover * powers[cell], 3 - mover)
        best[place] = worth == worth.max()
        values[place] = int(worth.max())
        return values[place]

    value((0,) * cells, 0, 1)
    return best


def _powers(game: InARow) -> np.ndarray:
    return 3 ** np.arange(game.rows * game.columns)


def _lines(game: InARow) -> list[list[tuple[int, ...]]]:
    """For each cell the lines through it."""
    found: list[list[tuple[int, ...]]] = [[] for _ in range(game.rows * game.columns)]
    for row, column in np.ndindex(game.rows, game.columns):
        for down, right in DIRECTIONS:
            line = [(row + i * down, column + i * right) for i in range(game.length)]
            if all(0 <= r < game.rows and 0 <= c < game.columns for r, c in line):
                cells = tuple(r * game.columns + c for r, c in line)
                for cell in cells:
                    found[cell].append(cells)
    return found
