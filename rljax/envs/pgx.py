"""Adapter for the games of pgx that two players play in turns; of the extra `games`.

`rljax.make("pgx/othello")` is a `rljax.types.TwoPlayerGame`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError, check_extra, check_known
from rljax.types import Action, EnvState, Key, Obs

GAMES = (
    "animal_shogi",
    "chess",
    "connect_four",
    "gardner_chess",
    "go_19x19",
    "go_9x9",
    "hex",
    "othello",
    "shogi",
    "tic_tac_toe",
)
"""Those of two players who move in turns, see all there is, and want the opposite."""


@dataclass(frozen=True)
class PgxGame:
    """A game of pgx behind rljax's protocol."""

    name: str
    env: Any
    players: tuple[str, str] = ("first", "second")

    @property
    def observation_space(self) -> spaces.Box:
        """Of what the player to move sees."""
        shape = jax.eval_shape(self.reset, jax.random.key(0))[1]
        if shape.dtype == np.bool_:
            return spaces.Box(0, 1, shape.shape, np.bool_)
        return spaces.Box(-np.inf, np.inf, shape.shape, shape.dtype)

    @property
    def action_space(self) -> spaces.Discrete:
        """Of moves, legal or not."""
        return spaces.Discrete(int(self.env.num_actions))

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A game at its beginning; consumes the key."""
        state = self.env.init(key)
        return state, state.observation

    def step(self, key: Key, state: EnvState, action: Action):
        """A move; the reward is that of who moved. Consumes the key."""
        after = self.env.step(state, action, key)
        reward = after.rewards[state.current_player]
        truncated = after.truncated & ~after.terminated
        return after, after.observation, reward, after.terminated, truncated

    def action_mask(self, state: EnvState) -> jax.Array:
        """The moves that are legal, bool [A]."""
        return jnp.asarray(state.legal_action_mask, bool)


def make(name: str) -> PgxGame:
    """The game that pgx has by that name.

    Raises UsageError without pgx, and for a game that is not of two players in turns.
    """
    check_extra(f"pgx/{name}", "games", "pgx")
    import pgx

    known = pgx.available_envs()
    check_known("game of pgx", name, known)
    if name not in GAMES:
        raise UsageError(
            f"pgx/{name} is no zero-sum game of two players who move in turns and see all there "
            f"is: these are: {', '.join(game for game in GAMES if game in known)}"
        )
    return PgxGame(f"pgx/{name}", pgx.make(name))
