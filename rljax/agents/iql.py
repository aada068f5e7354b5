"""Independent Q-learning (Tan 1993; Tampuu et al. 2017, https://arxiv.org/abs/1511.08779)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import dqn as plain
from rljax.agents.variants import variant_of
from rljax.envs.agents import described, groups_of
from rljax.networks import Mixer
from rljax.types import Agent, HasGlobalState, MultiAgentEnvironment

FIXED = ("actor_obs", "groups", "hindsight", "curiosity")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of independent Q-learning: traced, so a sweep compiles once."""


@variant_of(plain.dqn, *FIXED)
def iql(
    env: MultiAgentEnvironment,
    *,
    parameters: str = "shared",
    agent_index: bool = True,
    double: bool = True,
    mixer: str | Mixer = "none",
    hparams: Hparams | None = None,
    agent: str = "iql",
    **arguments: Any,
) -> Agent:
    """DQN, in which each of several agents learns from its own rewards.

    Args:
        env: from `rljax.make`, or any object with the members of
            `rljax.types.MultiAgentEnvironment`.
        parameters: "shared" by all agents, "teams" for those of each team, or "own" of each agent.
        agent_index: whether an agent observes its place among the agents, one-hot.
        mixer: what makes one value of the agents' values, for the reward of their team: "sum"
            (vdn), "monotonic" (qmix), or a `networks.Mixer`, which is given the global state of an
            environment that has one; "none" for the values and rewards of each agent.
    """
    names = ["own", "agent"] if agent_index else ["own"]
    reads_state = mixer == "monotonic" or (
        isinstance(mixer, Mixer) and isinstance(env, HasGlobalState)
    )
    env = described(env, agent_index, reads_state, agent)
    return plain.dqn(
        env,
        actor_obs=names,
        groups=groups_of(env, parameters, agent),
        mixer=mixer,
        double=double,
        hparams=Hparams() if hparams is None else hparams,
        agent=agent,
        **arguments,
    )


iql.Hparams = Hparams  # type: ignore[attr-defined]
