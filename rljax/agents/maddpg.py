"""Multi-agent DDPG (Lowe et al. 2017, https://arxiv.org/abs/1706.02275)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ddpg as plain
from rljax.agents.variants import variant_of
from rljax.envs.agents import described, groups_of
from rljax.envs.spaces import Discrete
from rljax.types import Agent, MultiAgentEnvironment

FIXED = ("actor_obs", "critic_obs", "hindsight", "agent")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of MADDPG: traced, so a sweep compiles once."""


@variant_of(plain.ddpg, *FIXED)
def of_agents(
    env: MultiAgentEnvironment,
    *,
    algorithm: Callable[..., Agent],
    agent: str,
    parameters: str = "own",
    central: bool = True,
    relaxation: str = "straight_through",
    noise: str | None = None,
    **arguments: Any,
) -> Agent:
    """DDPG, or TD3, of several agents.

    Args:
        env: from `rljax.make`, or any object with the members of
            `rljax.types.MultiAgentEnvironment`.
        algorithm: `ddpg` or `td3`.
        agent: who this is, in error messages.
        parameters: "own" of each agent, "teams" for those of each team, or "shared" by all agents.
            Who shares them also reads its place among the agents, one-hot.
        central: whether the critic of an agent reads what all agents observe and do, or only what
            its own agent does: independent learners.
        relaxation: of discrete actions, what critics read of samples of the policies: one-hot
            vectors whose gradient is that of the Gumbel-softmax, "straight_through", or the
            Gumbel-softmax itself, "soft".
        noise: on continuous actions that explore: "gaussian" (the default), new in each step,
            "ornstein_uhlenbeck", which goes on from step to step, or "none". Discrete actions are
            samples of the policy, which explore without.
    """
    groups = groups_of(env, parameters, agent)
    shared = len(set(groups)) < len(groups)
    names = ("own", "agent") if shared else ("own",)
    discrete = isinstance(env.action_space, Discrete)
    return algorithm(
        described(env, index=shared, agent=agent),
        groups=groups,
        central=central,
        actor_obs=names,
        critic_obs=("own",) if central else names,
        relaxation=relaxation,
        noise=noise or ("none" if discrete else "gaussian"),
        agent=agent,
        **arguments,
    )


@variant_of(of_agents, "algorithm", "agent")
def maddpg(
    env: MultiAgentEnvironment, *, hparams: Hparams | None = None, **arguments: Any
) -> Agent:
    """DDPG of several agents, each with a critic that reads what all of them observe and do."""
    hparams = Hparams() if hparams is None else hparams
    return of_agents(env, algorithm=plain.ddpg, hparams=hparams, agent="maddpg", **arguments)


maddpg.Hparams = Hparams  # type: ignore[attr-defined]
