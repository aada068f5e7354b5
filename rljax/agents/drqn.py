"""Deep recurrent Q-networks (Hausknecht and Stone 2015, https://arxiv.org/abs/1507.06527)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from flax import linen as nn

from rljax import networks
from rljax.agents import dqn as plain
from rljax.agents.variants import variant_of
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of DRQN: traced, so a sweep compiles once."""


@variant_of(plain.dqn, "agent")
def drqn(
    env: Environment,
    *,
    batch_size: int = 32,
    hidden: Sequence[int] = (64, 64),
    network: str | nn.Module | networks.Pair = "lstm",
    sequence_length: int = 10,
    overlap: int = 9,
    stored_carry: bool = False,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """DQN with a memory, which begins anew at the first step of each sequence that is sampled.

    Sequences begin at any step, and may cross ends of episodes (section 4 of the paper, "random
    updates").
    """
    return plain.dqn(
        env,
        batch_size=batch_size,
        hidden=hidden,
        network=network,
        sequence_length=sequence_length,
        overlap=overlap,
        stored_carry=stored_carry,
        hparams=Hparams() if hparams is None else hparams,
        agent="drqn",
        **arguments,
    )


drqn.Hparams = Hparams  # type: ignore[attr-defined]
