"""Rainbow (Hessel et al. 2018, https://arxiv.org/abs/1710.02298): DQN with all of its parts."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import dqn as plain
from rljax.agents.variants import variant_of
from rljax.hparams import non_negative
from rljax.networks import ValueHead
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """DQN's hyperparameters, with Adam's offset from Rainbow's table 1."""

    adam_eps: float = non_negative(1.5e-4)
    """Adam's denominator offset."""


@variant_of(plain.dqn, "agent")
def rainbow(
    env: Environment,
    *,
    double: bool = True,
    dueling: bool = True,
    n_step: int = 3,
    prioritized: bool = True,
    noisy: bool = True,
    head: str | ValueHead = "c51",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """DQN with all of its parts, any of which may be taken away again."""
    return plain.dqn(
        env,
        double=double,
        dueling=dueling,
        n_step=n_step,
        prioritized=prioritized,
        noisy=noisy,
        head=head,
        hparams=Hparams() if hparams is None else hparams,
        agent="rainbow",
        **arguments,
    )


rainbow.Hparams = Hparams  # type: ignore[attr-defined]
