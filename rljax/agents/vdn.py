"""Value decomposition networks (Sunehag et al. 2018, https://arxiv.org/abs/1706.05296)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import iql as plain
from rljax.agents.variants import variant_of
from rljax.networks import Mixer
from rljax.types import Agent, MultiAgentEnvironment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of value decomposition: traced, so a sweep compiles once."""


@variant_of(plain.iql, "agent")
def vdn(
    env: MultiAgentEnvironment,
    *,
    mixer: str | Mixer = "sum",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """DQN whose agents learn the return of their team: its value is the sum of theirs."""
    return plain.iql(
        env,
        mixer=mixer,
        hparams=Hparams() if hparams is None else hparams,
        agent="vdn",
        **arguments,
    )


vdn.Hparams = Hparams  # type: ignore[attr-defined]
