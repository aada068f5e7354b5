"""Asynchronous PPO: PPO on experience of earlier versions of the policy, corrected by V-trace.

The clip is around the policy that acted, so it limits how far the others get from it. V-trace makes
the targets and the advantages those of the current policy. Luo et al. 2019 (IMPACT),
https://arxiv.org/abs/1912.00167, describe it in section 2, and move the clip to a target network.
"""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ppo as plain
from rljax.agents.assembly import check_hparams
from rljax.agents.impala import advantage_of
from rljax.agents.variants import variant_of
from rljax.hparams import positive
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """PPO's hyperparameters, and the clips of V-trace."""

    rho_clip: float = positive(1.0)
    """The most a step's own probability ratio counts."""
    c_clip: float = positive(1.0)
    """The most a probability ratio counts for the steps before it."""


@variant_of(plain.ppo, "advantage", "agent")
def appo(
    env: Environment,
    *,
    correction: str = "vtrace",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """Asynchronous PPO: several limited steps on each rollout of a policy that lags.

    Args:
        correction: of what the lag does: "vtrace", or "none", which is PPO on such experience.
    """
    return plain.ppo(
        env,
        advantage=advantage_of(correction, weighted=False),
        agent="appo",
        hparams=check_hparams(hparams, Hparams, "appo"),
        **arguments,
    )._replace(may_lag=True)


appo.Hparams = Hparams  # type: ignore[attr-defined]
