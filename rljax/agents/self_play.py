"""Self-play as one number: games of two players against a pool of earlier selves."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.actors.versions import POOL, against_opponents, with_versions
from rljax.agents.iteration import EnvironmentAt
from rljax.envs.opponents import Against, game_of
from rljax.errors import check_count, check_positive
from rljax.hparams import fraction
from rljax.types import Actor, Environment, Hparams, Params, Update
from rljax.updates import keep_versions

SELF_PLAY = ("opponents", "opponent_period")
"""The arguments of an agent that `SelfPlay` is given."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SelfPlayHparams:
    """The hyperparameters of self-play; nothing reads them without it."""

    newest_opponent: float = fraction(0.3)
    """How often the newest of the earlier selves is the opponent; otherwise all are equally
    likely."""


class SelfPlay:
    """Games against so many earlier selves; where there are none, all is as it was.

    They lie in the parameters, so a state that is restored has them. `env` is where the agent is
    evaluated: its game against a player who moves at random.

    Raises UsageError for counts that are none, and for an environment that is no game.

    Source: Bansal et al. 2018, section 3.2, https://arxiv.org/abs/1710.03748.
    """

    def __init__(self, env: Any, opponents: int, period: int, agent: str):
        check_count(opponents=opponents)
        check_positive(opponent_period=period)
        self.number, self._period = opponents, period
        self.env: Environment = Against(game_of(env, f"opponents of {agent}")) if opponents else env

    def actor(self, actor: Actor) -> Actor:
        """`actor`, whose parameters have the earlier ones beside them."""
        return with_versions(actor, POOL, self.number) if self.number else actor

    def update(self, update: Update) -> Update:
        """`update`, of the present parameters, which now and then become the newest opponent."""
        return keep_versions(update, POOL, self._period) if self.number else update

    def against_opponents(self, actor: Actor) -> EnvironmentAt | None:
        """Where `actor` acts: in games against those who act as it did."""
        if not self.number:
            return None
        game = game_of(self.env, "self-play")

        def games(hparams: Hparams, progress: jax.Array, params: Params) -> Environment:
            newest = hparams.newest_opponent
            return against_opponents(actor, game, self.number, newest, hparams, progress, params)

        return games
