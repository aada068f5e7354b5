"""Truncated quantile critics (Kuznetsov et al. 2020, https://arxiv.org/abs/2005.04269)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import off_policy_actor_critic as base
from rljax.agents import sac as plain
from rljax.agents.variants import variant_of
from rljax.errors import check_at_most, check_count
from rljax.networks import quantile
from rljax.types import Agent, Environment
from rljax.updates import without_largest

HEADS = ("head", "loss", "num_atoms", "v_min", "v_max")
"""Arguments of other value heads than that of quantiles."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of TQC: traced, so a sweep compiles once."""


@variant_of(base.off_policy_actor_critic, *base.CHOSEN, *HEADS)
def tqc(
    env: Environment,
    *,
    num_critics: int = 5,
    num_quantiles: int = 25,
    dropped_quantiles: int = 2,
    learn_temperature: bool = True,
    noise: str = "none",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """SAC with critics of quantiles, of which targets leave out the largest.

    Args:
        num_quantiles: quantiles of returns that each critic has.
        dropped_quantiles: how many of them, for each critic, targets leave out.
        learn_temperature: whether the temperature is learnt, or stays what it is.
    """
    head = quantile(num_quantiles)
    check_count(dropped_quantiles=dropped_quantiles)
    check_at_most("dropped_quantiles", dropped_quantiles, "num_quantiles - 1", num_quantiles - 1)
    pool = without_largest(dropped_quantiles)
    return base.off_policy_actor_critic(
        env,
        learn=plain.learning(learn_temperature, pool, policy_values="average"),
        kind=Hparams,
        stochastic=True,
        targets=("critic",),
        parts=base.temperature_part(learn_temperature),
        num_critics=num_critics,
        noise=noise,
        head=head,
        hparams=hparams,
        agent="tqc",
        **arguments,
    )


tqc.Hparams = Hparams  # type: ignore[attr-defined]
