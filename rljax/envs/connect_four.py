"""Connect four against a player who moves at random.

>>> import rljax
>>> rljax.make("ConnectFour").action_space
Discrete(n=7, shape=(), dtype=<class 'numpy.int32'>)
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.board_games import dropped, has_line, open_columns
from rljax.types import Action, Key, Obs

ROWS, COLUMNS = 6, 7
MINE, THEIRS = 0, 1


class ConnectFourState(NamedTuple):
    """The board, and how long the game is."""

    board: jax.Array  # [6, 7, 2] bool, discs of the agent and of the other; row 0 is the lowest
    time: jax.Array  # [] int32, moves of the agent so far


@dataclass(frozen=True)
class UnmaskedConnectFour:
    """Connect four without a mask: a move into a full column loses the game."""

    name: str = "ConnectFour"
    action_space = spaces.Discrete(COLUMNS)
    observation_space = spaces.Box(0, 1, (ROWS, COLUMNS, 2), np.bool_)

    def reset(self, key: Key) -> tuple[ConnectFourState, Obs]:
        """An empty board, or one disc of the other player; consumes the key."""
        key_begins, key_move = jax.random.split(key)
        empty = jnp.zeros(self.observation_space.shape, bool)
        begun = dropped(empty, random_column(empty, key_move), THEIRS)
        board = jnp.where(jax.random.bernoulli(key_begins), begun, empty)
        return ConnectFourState(board, jnp.int32(0)), board

    def step(self, key: Key, state: ConnectFourState, action: Action):
        """A move of the agent, then one of the other player; consumes the key."""
        legal = open_columns(state.board)[action]
        board = dropped(state.board, action, MINE)
        won = has_line(board[..., MINE])
        answers = legal & ~won & jnp.any(open_columns(board))
        answered = dropped(board, random_column(board, key), THEIRS)
        board = jnp.where(answers, answered, board)
        lost = ~legal | has_line(board[..., THEIRS])
        over = won | lost | ~jnp.any(open_columns(board))
        reward = won.astype(jnp.float32) - lost
        return ConnectFourState(board, state.time + 1), board, reward, over, jnp.bool_(False)

    def success(self, state: ConnectFourState) -> jax.Array:
        """Whether the agent has four discs in a line."""
        return has_line(state.board[..., MINE])


@dataclass(frozen=True)
class ConnectFour(UnmaskedConnectFour):
    """The agent drops a disc into one of 7 columns, and so does a player who moves at random.

    Observed is the board, bool [6, 7, 2]: discs of the agent and of the other player, from the
    lowest row up. Four discs in a line win: a reward of 1 for the agent's, -1 for those of the
    other; a full board is a draw, 0. In every second game, by chance, the other player begins. A
    full column is no legal action.
    """

    def action_mask(self, state: ConnectFourState) -> jax.Array:
        """Columns that are not full, bool [7]."""
        return open_columns(state.board)


def random_column(board: jax.Array, key: Key) -> jax.Array:
    """One that is not full, all equally likely; any where all are. Consumes the key."""
    return jax.random.categorical(key, jnp.where(open_columns(board), 0.0, -jnp.inf))


def make(mask: bool = True) -> UnmaskedConnectFour:
    """The game, with the mask of legal actions or without."""
    return ConnectFour() if mask else UnmaskedConnectFour()
