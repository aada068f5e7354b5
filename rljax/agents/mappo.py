"""MAPPO (Yu et al. 2022, https://arxiv.org/abs/2103.01955): PPO with a central critic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ppo as plain
from rljax.agents.ippo import FIXED
from rljax.agents.variants import variant_of
from rljax.envs.agents import described, groups_of
from rljax.types import Agent, MultiAgentEnvironment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of MAPPO: traced, so a sweep compiles once."""


@variant_of(plain.ppo, *FIXED)
def mappo(
    env: MultiAgentEnvironment,
    *,
    parameters: str = "shared",
    critic_obs: Sequence[str] = ("state", "agent"),
    normalize_values: bool = True,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """PPO of several agents, whose critic reads the global state.

    Args:
        env: from `rljax.make`, or any object with the members of
            `rljax.types.MultiAgentEnvironment` and a global state.
        parameters: "shared" by all agents, "teams" for those of each team, or "own" of each agent.
        critic_obs: what the critic reads: "state", the global state; "agent", the place of the
            agent, one-hot; "own", what the agent observes.
    """
    return plain.ppo(
        described(env, state=True, agent="mappo"),
        actor_obs=("own", "agent"),
        critic_obs=critic_obs,
        groups=groups_of(env, parameters, "mappo"),
        normalize_values=normalize_values,
        hparams=Hparams() if hparams is None else hparams,
        agent="mappo",
        **arguments,
    )


mappo.Hparams = Hparams  # type: ignore[attr-defined]
