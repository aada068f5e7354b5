"""A game of two players as an environment of one: somebody else moves for the other player."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rljax.envs import autoreset
from rljax.envs.action_masks import legal_actions
from rljax.envs.wrappers import Wrapper
from rljax.errors import UsageError
from rljax.types import Action, EnvState, Key, MaskedObs, Obs, TwoPlayerGame

Opponent = Callable[[Key, EnvState, Obs], Action]
"""(key, state, observation) of one game to the action of who is to move there."""


class AgainstState(NamedTuple):
    """The game, in which it is the turn of the agent."""

    game: EnvState
    time: jax.Array  # [] int32, moves of the agent so far


def random_move(key: Key, state: EnvState, obs: Obs) -> Action:
    """A legal action, all equally likely; consumes the key."""
    legal = legal_actions(obs)
    assert legal is not None
    return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf))


@dataclass(frozen=True)
class Against(Wrapper):
    """An agent plays a `TwoPlayerGame` against an opponent.

    Observed is the game where it is the turn of the agent. Rewards are those of the agent: 1 for a
    win, -1 for a loss and 0 for a draw.
    """

    opponent: Opponent = random_move
    begins: bool | None = None
    """Whether the agent moves first; None for a choice by chance in each game."""

    handed_on = ()

    def reset(self, key: Key) -> tuple[AgainstState, Obs]:
        """A game in which the agent is to move; consumes the key."""
        key_reset, key_begins, key_move, key_step = jax.random.split(key, 4)
        empty, seen = autoreset.reset(self.env, key_reset)
        action = self.opponent(key_move, empty, seen)
        answered, answer, *_ = autoreset.step(self.env, key_step, empty, action)
        begins = jax.random.bernoulli(key_begins) if self.begins is None else self.begins
        state, obs = _where(begins, (empty, _unmasked(seen)), (answered, _unmasked(answer)))
        return AgainstState(state, jnp.int32(0)), obs

    def step(self, key: Key, state: AgainstState, action: Action):
        """A move of the agent, then one of the opponent; consumes the key."""
        key_step, key_move, key_answer = jax.random.split(key, 3)
        mine = autoreset.step(self.env, key_step, state.game, action)
        game, obs, _, terminated, truncated = mine
        answer = self.opponent(key_move, game, obs)
        game, obs, reward, *ends = autoreset.step(self.env, key_answer, game, answer)
        over = terminated | truncated
        game, obs, reward, *ends = _where(over, mine, (game, obs, -reward, *ends))
        return AgainstState(game, state.time + 1), _unmasked(obs), reward, *ends

    def action_mask(self, state: AgainstState) -> jax.Array:
        """Which moves of the agent are legal, bool [A]."""
        return self.env.action_mask(state.game)


class DrawnState(NamedTuple):
    """A game against an opponent, and the number of that opponent."""

    number: jax.Array  # [] int32
    against: AgainstState


@dataclass(frozen=True)
class AgainstOneOf(Wrapper):
    """An agent plays a `TwoPlayerGame` against several opponents, of whom one is drawn for a game.

    All else is as in `Against`.
    """

    opponents: Callable[[jax.Array], Opponent]
    """The opponent of a number int32 []."""
    draw: Callable[[Key], jax.Array]
    """From a key to the number of the opponent of the next game; consumes the key."""

    handed_on = ()

    def reset(self, key: Key) -> tuple[DrawnState, Obs]:
        """A game in which the agent is to move; consumes the key."""
        key_draw, key_reset = jax.random.split(key)
        number = self.draw(key_draw)
        state, obs = self._against(number).reset(key_reset)
        return DrawnState(number, state), obs

    def step(self, key: Key, state: DrawnState, action: Action):
        """A move of the agent, then one of the opponent; consumes the key."""
        against, *others = self._against(state.number).step(key, state.against, action)
        return DrawnState(state.number, against), *others

    def action_mask(self, state: DrawnState) -> jax.Array:
        """Which moves of the agent are legal, bool [A]."""
        return self.env.action_mask(state.against.game)

    def _against(self, number: jax.Array) -> Against:
        return Against(self.env, self.opponents(number))


def game_of(env: Any, what: str) -> Any:
    """The game that an environment is, or of which an agent plays one side; UsageError if none."""
    game = env.env if isinstance(env, Against) else env
    if not isinstance(game, TwoPlayerGame):
        raise UsageError(
            f"{what} is for zero-sum games of two players in turns, which {env.name} is not: use "
            "TicTacToeGame, ConnectFourGame, a game of pgx, or an environment with the members of "
            "rljax.types.TwoPlayerGame"
        )
    return game


def _unmasked(obs: Obs) -> Obs:
    return obs.obs if isinstance(obs, MaskedObs) else obs


def _where(condition: jax.Array | bool, yes, no):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), yes, no)
