"""Multi-agent DDPG (Lowe et al. 2017, https://arxiv.org/abs/1706.02275)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ddpg as plain
from rljax.agents import off_policy_actor_critic as base
from rljax.agents.variants import variant_of
from rljax.envs.agents import groups_of
from rljax.envs.spaces import Discrete
from rljax.envs.teams import described
from rljax.hparams import non_negative
from rljax.networks import ActorAndCritics
from rljax.types import Agent, MultiAgentEnvironment, Update

FIXED = ("actor_obs", "critic_obs", "hindsight")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RelaxedHparams:
    """The hyperparameters of policies whose discrete actions are relaxed."""

    logit_penalty: float = non_negative(1e-3)
    """Of discrete actions: what policies pay for their logits, times the mean of their squares."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams, RelaxedHparams):
    """The hyperparameters of MADDPG: traced, so a sweep compiles once."""


@variant_of(base.off_policy_actor_critic, *base.CHOSEN, *FIXED)
def of_agents(
    env: MultiAgentEnvironment,
    *,
    learn: base.Learn,
    kind: type,
    agent: str,
    parameters: str = "own",
    central: bool = True,
    relaxation: str = "straight_through",
    noise: str | None = None,
    **arguments: Any,
) -> Agent:
    """What learns by samples of a replay buffer, for each of several agents.

    Args:
        env: from `rljax.make`, or any object with the members of
            `rljax.types.MultiAgentEnvironment`.
        learn: how one agent learns, such as that of `ddpg`.
        kind: the class of its hyperparameters.
        agent: who this is, in error messages.
        parameters: "own" of each agent, "teams" for those of each team, or "shared" by all agents.
            Who shares them also reads its place among the agents, one-hot.
        central: whether the critic of an agent reads what all agents observe and do, or its own
            agent alone, which makes the agents independent learners.
        relaxation: of discrete actions, what critics read of a sample of a policy: a one-hot vector
            with the gradient of the Gumbel-softmax, "straight_through", or the Gumbel-softmax
            itself, "soft".
        noise: on continuous actions that explore: "gaussian" (the default), new in each step,
            "ornstein_uhlenbeck", which goes on from step to step, or "none". Discrete actions are
            samples of the policy, which explore without.
    """
    groups = groups_of(env, parameters, agent)
    shared = len(set(groups)) < len(groups)
    names = ("own", "agent") if shared else ("own",)
    discrete = isinstance(env.action_space, Discrete)

    def learn_all(ac: ActorAndCritics, hp: Any, optimizers: base.Optimizers) -> Update:
        return learn(ac._replace(logit_penalty=hp.logit_penalty), hp, optimizers)

    return base.off_policy_actor_critic(
        described(env, index=shared, agent=agent),
        learn=learn_all,
        kind=kind,
        groups=groups,
        central=central,
        actor_obs=names,
        critic_obs=("own",) if central else names,
        relaxation=relaxation,
        noise=noise or ("none" if discrete else "gaussian"),
        agent=agent,
        **arguments,
    )


@variant_of(of_agents, "learn", "kind", "agent")
def maddpg(
    env: MultiAgentEnvironment, *, hparams: Hparams | None = None, **arguments: Any
) -> Agent:
    """DDPG of several agents, each with a critic that reads what all of them observe and do."""
    return of_agents(
        env, learn=plain.learn, kind=Hparams, hparams=hparams, agent="maddpg", **arguments
    )


maddpg.Hparams = Hparams  # type: ignore[attr-defined]
