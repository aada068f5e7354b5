"""Distributed distributional DDPG (Barth-Maron et al. 2018, https://arxiv.org/abs/1804.08617)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ddpg as plain
from rljax.agents.variants import variant_of
from rljax.hparams import non_negative
from rljax.networks import ValueHead
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of D4PG: traced, so a sweep compiles once."""

    noise_std: float = non_negative(0.3)
    """Standard deviation of the noise in the first environment, for actions scaled to [-1, 1]."""


@variant_of(plain.ddpg, "agent")
def d4pg(
    env: Environment,
    *,
    n_step: int = 5,
    prioritized: bool = True,
    head: str | ValueHead = "c51",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """DDPG with a distributional critic, targets of several rewards and a prioritized replay.

    Actors act (algorithm 1 of the paper), each with a noise of its own if `noise_ratio` is not 1.
    """
    return plain.ddpg(
        env,
        n_step=n_step,
        prioritized=prioritized,
        head=head,
        hparams=Hparams() if hparams is None else hparams,
        agent="d4pg",
        **arguments,
    )._replace(may_lag=True)


d4pg.Hparams = Hparams  # type: ignore[attr-defined]
