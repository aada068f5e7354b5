"""QMIX (Rashid et al. 2018, https://arxiv.org/abs/1803.11485)."""

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
    """The hyperparameters of QMIX: traced, so a sweep compiles once."""


@variant_of(plain.iql, "agent")
def qmix(
    env: MultiAgentEnvironment,
    *,
    mixer: str | Mixer = "monotonic",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """DQN whose agents learn the return of their team: its value is a mixture of theirs.

    The mixture never falls where one of them rises, and its weights are made of the global state.
    So the best action of each agent is part of the best of all.
    """
    return plain.iql(
        env,
        mixer=mixer,
        hparams=Hparams() if hparams is None else hparams,
        agent="qmix",
        **arguments,
    )


qmix.Hparams = Hparams  # type: ignore[attr-defined]
