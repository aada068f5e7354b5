"""Twin delayed DDPG (Fujimoto et al. 2018, https://arxiv.org/abs/1802.09477)."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import ddpg as plain
from rljax.agents import off_policy_actor_critic as base
from rljax.agents.variants import variant_of
from rljax.hparams import non_negative
from rljax.networks import ActorAndCritics
from rljax.types import Agent, Environment, Update
from rljax.updates import (
    actor_loss,
    chain,
    critic_loss,
    critic_target,
    every,
    gradient,
    smallest,
    smoothed,
    target_network,
)

REPORTS = ("losses/policy_loss", "losses/actor_grad_norm")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of TD3: traced, so a sweep compiles once."""

    smoothing_std: float = non_negative(0.2)
    """Standard deviation of the noise on the target's action, for actions scaled to [-1, 1]."""
    smoothing_clip: float = non_negative(0.5)
    """The largest size of that noise."""


def learning(policy_delay: int) -> base.Learn:
    """Algorithm 1 of the paper, from a sample on."""

    def learn(ac: ActorAndCritics, hp: Hparams, optimizers: base.Optimizers) -> Update:
        next_action = smoothed(ac, hp.smoothing_std, hp.smoothing_clip)
        follow_policy = chain(
            gradient(actor_loss(ac, num_critics=1), optimizers.actor, part="actor"),
            target_network(hp.tau, part="critic", target="target_critic"),
            target_network(hp.tau, part="actor", target="target_actor"),
        )
        return chain(
            critic_target(ac, next_action, smallest),
            gradient(critic_loss(ac), optimizers.critic, part="critic"),
            every(policy_delay, follow_policy, REPORTS),
        )

    return learn


@variant_of(base.off_policy_actor_critic, *base.CHOSEN)
def td3(
    env: Environment,
    *,
    num_critics: int = 2,
    policy_delay: int = 2,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """DDPG with twin critics, a delayed policy and a smoothed target.

    Args:
        policy_delay: updates of the critics for one of the policy and of the target networks.
    """
    return base.off_policy_actor_critic(
        env,
        learn=learning(policy_delay),
        kind=Hparams,
        num_critics=num_critics,
        hparams=hparams,
        agent="td3",
        **arguments,
    )


td3.Hparams = Hparams  # type: ignore[attr-defined]
