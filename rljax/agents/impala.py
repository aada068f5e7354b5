"""IMPALA (Espeholt et al. 2018, https://arxiv.org/abs/1802.01561).

A2C on experience of earlier versions of the policy, with V-trace to correct for it.
"""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import policy_gradient as base
from rljax.agents.variants import variant_of
from rljax.errors import check_known
from rljax.hparams import fraction, positive
from rljax.networks import ActorCritic
from rljax.types import Agent, Environment, Update
from rljax.updates import gae, vtrace

CORRECTIONS = ("vtrace", "none")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(base.WithRMSProp):
    """The hyperparameters of IMPALA: traced, so a sweep compiles once."""

    gae_lambda: float = fraction(1.0)
    """How far V-trace looks ahead, from 0 (one step) to 1 (the rest of the rollout)."""
    rho_clip: float = positive(1.0)
    """The most a step's own probability ratio counts."""
    c_clip: float = positive(1.0)
    """The most a probability ratio counts for the steps before it."""


def advantage_of(correction: str, weighted: bool = True) -> base.Advantage:
    """The advantages of a correction, with the ratio of their step or for a loss that has it.

    Raises UsageError for a correction that is not known.
    """
    check_known("correction", correction, CORRECTIONS)

    def advantage(ac: ActorCritic, hp: Any) -> Update:
        if correction == "none":
            return gae(ac.value, hp.gamma, hp.gae_lambda)
        return vtrace(ac, hp.gamma, hp.gae_lambda, hp.rho_clip, hp.c_clip, weighted=weighted)

    return advantage


@variant_of(base.policy_gradient, *{*base.CHOSEN} - {"policy_lag"})
def impala(
    env: Environment,
    *,
    policy_lag: int = 0,
    correction: str = "vtrace",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """Importance-weighted actor-learners: one gradient step on each rollout of a policy that lags.

    Args:
        policy_lag: how many iterations old the parameters are that act, as those of the actors of
            a distributed learner; 0 for none.
        correction: of what the lag does: "vtrace", or "none", which is A2C on such experience.
    """
    return base.policy_gradient(
        env,
        advantage=advantage_of(correction),
        optimizer=base.rmsprop,
        policy_lag=policy_lag,
        agent="impala",
        kind=Hparams,
        hparams=hparams,
        **arguments,
    )._replace(may_lag=True)


impala.Hparams = Hparams  # type: ignore[attr-defined]
