"""Multi-agent TD3 (Ackermann et al. 2019, https://arxiv.org/abs/1910.01465)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import td3 as plain
from rljax.agents.maddpg import RelaxedHparams, of_agents
from rljax.agents.variants import variant_of
from rljax.types import Agent, MultiAgentEnvironment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams, RelaxedHparams):
    """The hyperparameters of MATD3: traced, so a sweep compiles once."""


@variant_of(of_agents, "learn", "kind", "agent")
def matd3(
    env: MultiAgentEnvironment,
    *,
    num_critics: int = 2,
    policy_delay: int = 2,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """MADDPG with twin critics, a delayed policy and, for continuous actions, a smoothed target.

    Args:
        policy_delay: updates of the critics for one of the policies and of the target networks.
    """
    return of_agents(
        env,
        learn=plain.learning(policy_delay),
        kind=Hparams,
        num_critics=num_critics,
        hparams=hparams,
        agent="matd3",
        **arguments,
    )


matd3.Hparams = Hparams  # type: ignore[attr-defined]
