"""R2D2 (Kapturowski et al. 2019, https://openreview.net/forum?id=r1lyTjAqYX): Ape-X with memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from flax import linen as nn

from rljax import networks
from rljax.agents import apex as plain
from rljax.agents.variants import variant_of
from rljax.hparams import fraction, non_negative
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """Ape-X's hyperparameters, with three of the paper."""

    gamma: float = fraction(0.997)
    """Discount per step."""
    adam_eps: float = non_negative(1e-3)
    """Adam's denominator offset."""
    priority_exponent: float = fraction(0.9)
    """How much priorities count, from 0 (not at all) to 1."""


@variant_of(plain.apex, "agent")
def r2d2(
    env: Environment,
    *,
    rollout_length: int = 20,
    buffer_size: int = 100_000,
    batch_size: int = 32,
    updates_per_iteration: int = 4,
    warmup_env_steps: int = 2_000,
    hidden: Sequence[int] = (64, 64),
    network: str | nn.Module | networks.Pair = "lstm",
    n_step: int = 5,
    sequence_length: int = 40,
    burn_in: int = 20,
    overlap: int = 20,
    rescale_values: bool = True,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """Ape-X that learns a network with memory from sequences, which may cross ends of episodes.

    Actors act, each environment with an epsilon of its own, and store the carry of their network.
    The learner samples sequences by priority and unrolls both networks over the first steps of
    each, from the stored carry: the burn-in. It learns from the steps that follow, by n-step double
    Q-learning of rescaled values with a dueling network.
    """
    return plain.apex(
        env,
        rollout_length=rollout_length,
        buffer_size=buffer_size,
        batch_size=batch_size,
        updates_per_iteration=updates_per_iteration,
        warmup_env_steps=warmup_env_steps,
        hidden=hidden,
        network=network,
        n_step=n_step,
        sequence_length=sequence_length,
        burn_in=burn_in,
        overlap=overlap,
        rescale_values=rescale_values,
        hparams=Hparams() if hparams is None else hparams,
        agent="r2d2",
        **arguments,
    )


r2d2.Hparams = Hparams  # type: ignore[attr-defined]
