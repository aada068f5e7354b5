"""Games of two players who want some discs in a line: tic-tac-toe and connect four.

>>> import rljax
>>> rljax.make("TicTacToeGame").players
('x', 'o')
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.types import Action, Key, Obs

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


class BoardState(NamedTuple):
    """Who has a disc where, and how long the game is."""

    board: jax.Array  # [R, C, 2] bool, discs of who moves first, and of the other
    time: jax.Array  # [] int32, moves so far


@dataclass(frozen=True)
class InARow:
    """Two players put discs on a board in turns; who has `length` in a line wins.

    Observed are the discs of who is to move, and those of the other, bool [R, C, 2]. With `falls`,
    discs are dropped into columns, which are the actions, and row 0 is the lowest. Without, the
    actions are the cells in reading order. A full board is a draw, and an illegal move loses. It is
    a `rljax.types.TwoPlayerGame`.
    """

    name: str
    rows: int
    columns: int
    length: int
    falls: bool
    players: tuple[str, str] = ("x", "o")

    @property
    def observation_space(self) -> spaces.Box:
        """Of the discs of both."""
        return spaces.Box(0, 1, (self.rows, self.columns, 2), np.bool_)

    @property
    def action_space(self) -> spaces.Discrete:
        """The columns, or the cells."""
        return spaces.Discrete(self.columns if self.falls else self.rows * self.columns)

    def reset(self, key: Key) -> tuple[BoardState, Obs]:
        """An empty board."""
        board = jnp.zeros((self.rows, self.columns, 2), bool)
        return BoardState(board, jnp.int32(0)), board

    def step(self, key: Key, state: BoardState, action: Action):
        """A move of who is to move."""
        mover = state.time % 2
        legal = self.action_mask(state)[action]
        if self.falls:
            board = dropped(state.board, action, mover)
        else:
            board = placed(state.board, action, mover)
        won = legal & has_line(board[..., mover], self.length)
        state = BoardState(board, state.time + 1)
        over = won | ~legal | (state.time == self.rows * self.columns)
        reward = won.astype(jnp.float32) - ~legal
        return state, self._seen(state), reward, over, jnp.bool_(False)

    def action_mask(self, state: BoardState) -> jax.Array:
        """Columns that are not full, or cells that are empty, bool [A]."""
        if self.falls:
            return open_columns(state.board)
        return ~jnp.any(state.board, axis=-1).ravel()

    def text(self, state: BoardState) -> str:
        """The board in lines, with the number of an action in each empty cell, or below."""
        first, second = np.moveaxis(np.asarray(state.board), -1, 0)
        marks = np.where(first, self.players[0], np.where(second, self.players[1], "."))
        numbers = [str(action) for action in range(self.action_space.n)]
        if self.falls:
            marks = np.concatenate([marks[::-1], [numbers]])
        else:
            marks = np.where(marks == ".", np.array(numbers).reshape(marks.shape), marks)
        return "\n".join(" ".join(row) for row in marks)

    @cached_property
    def symmetries(self) -> int:
        """A board on which discs fall can be mirrored; a square one can be turned, too."""
        return len(self._cells)

    def seen_from(self, way: jax.Array, obs: Obs) -> Obs:
        """The discs of both, turned and mirrored."""
        return obs.reshape(-1, 2)[jnp.asarray(self._cells)[way]].reshape(obs.shape)

    def actions_from(self, way: jax.Array) -> jax.Array:
        """For each column, or cell, which one it is on the board itself."""
        cells = self._cells[:, : self.columns] if self.falls else self._cells
        return jnp.asarray(cells)[way]

    @cached_property
    def _cells(self) -> np.ndarray:
        """For each way to see the board, which cell is seen in each place; int32 [S, R x C]."""
        board = np.arange(self.rows * self.columns, dtype=np.int32).reshape(self.rows, -1)
        turned = [board]
        if not self.falls:
            turned = [np.rot90(board, n) for n in range(0, 4, 1 + (self.rows != self.columns))]
        return np.stack([x.ravel() for one in turned for x in (one, one[:, ::-1])])

    def _seen(self, state: BoardState) -> Obs:
        return jnp.where(state.time % 2 == 0, state.board, state.board[..., ::-1])


def tic_tac_toe() -> InARow:
    """Three in a line, on 3 x 3 cells."""
    return InARow("TicTacToeGame", rows=3, columns=3, length=3, falls=False)


def connect_four() -> InARow:
    """Four in a line, on 6 x 7 cells into which discs fall."""
    return InARow("ConnectFourGame", rows=6, columns=7, length=4, falls=True)


def open_columns(board: jax.Array) -> jax.Array:
    """Which columns of a board [R, C, 2] are not full, bool [C]."""
    return ~jnp.any(board[-1], axis=-1)


def dropped(board: jax.Array, column: jax.Array, player: int | jax.Array) -> jax.Array:
    """The board with another disc in one of its columns; a full one stays as it is."""
    row = jnp.sum(jnp.any(board[:, column], axis=-1))
    return placed(board, row * board.shape[1] + column, player)


def placed(board: jax.Array, cell: jax.Array, player: int | jax.Array) -> jax.Array:
    """The board with another disc in a cell, numbered in reading order; beyond the board, none."""
    # With one index: with three, XLA copies all boards once more, number by number.
    place = cell * board.shape[-1] + player
    return board.ravel().at[place].set(True, mode="drop").reshape(board.shape)


def has_line(discs: jax.Array, length: int = 4) -> jax.Array:
    """Whether so many of the discs bool [R, C] are in a line; bool []."""
    padded = jnp.pad(discs, length - 1)
    found = jnp.bool_(False)
    for down, right in DIRECTIONS:
        shifted = [
            jax.lax.dynamic_slice(
                padded, (length - 1 + i * down, length - 1 + i * right), discs.shape
            )
            for i in range(length)
        ]
        found |= jnp.any(jnp.stack(shifted).all(axis=0))
    return found
