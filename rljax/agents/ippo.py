"""Independent PPO (de Witt et al. 2020, https://arxiv.org/abs/2011.09533)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ppo as plain
from rljax.agents.self_play import SELF_PLAY
from rljax.agents.variants import variant_of
from rljax.envs.agents import groups_of
from rljax.envs.teams import described
from rljax.types import Agent, MultiAgentEnvironment

FIXED = ("actor_obs", "critic_obs", "groups", "curiosity", "agent", *SELF_PLAY)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of independent PPO: traced, so a sweep compiles once."""


@variant_of(plain.ppo, *FIXED)
def ippo(
    env: MultiAgentEnvironment,
    *,
    parameters: str = "shared",
    agent_index: bool = True,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """PPO, in which each of several agents learns from its own rewards.

    Args:
        env: from `rljax.make`, or any object with the members of
            `rljax.types.MultiAgentEnvironment`.
        parameters: "shared" by all agents, "teams" for those of each team, or "own" of each agent.
        agent_index: whether an agent observes its place among the agents, one-hot.
    """
    return plain.ppo(
        described(env, index=agent_index, agent="ippo"),
        groups=groups_of(env, parameters, "ippo"),
        hparams=Hparams() if hparams is None else hparams,
        agent="ippo",
        **arguments,
    )


ippo.Hparams = Hparams  # type: ignore[attr-defined]
