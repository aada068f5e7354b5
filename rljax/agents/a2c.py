"""Advantage actor-critic (Mnih et al. 2016, https://arxiv.org/abs/1602.01783).

A3C's update, made by all environments at once instead of one after the other.
"""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import policy_gradient as base
from rljax.agents.variants import variant_of
from rljax.hparams import fraction
from rljax.networks import ActorCritic
from rljax.types import Agent, Environment, Update
from rljax.updates import gae, n_step_advantage


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(base.Hparams):
    """The hyperparameters of A2C: traced, so a sweep compiles once."""

    gae_lambda: float = fraction(1.0)
    """1 is A3C's target, 0 the one-step actor-critic; unread where `n_step` is given."""


def advantage_of(n_step: int | None) -> base.Advantage:
    """The advantages over so many steps, or GAE."""

    def advantage(ac: ActorCritic, hp: Any) -> Update:
        if n_step is None:
            return gae(ac.value, hp.gamma, hp.gae_lambda)
        return n_step_advantage(ac.value, hp.gamma, n_step)

    return advantage


@variant_of(base.policy_gradient, *base.CHOSEN)
def a2c(
    env: Environment,
    *,
    n_step: int | None = None,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """Advantage actor-critic: one gradient step on each rollout, then the next.

    Args:
        n_step: advantages over so many steps; by default GAE(`hparams.gae_lambda`).
    """
    return base.policy_gradient(
        env,
        advantage=advantage_of(n_step),
        agent="a2c",
        kind=Hparams,
        hparams=hparams,
        **arguments,
    )


a2c.Hparams = Hparams  # type: ignore[attr-defined]
