"""Deep deterministic policy gradient (Lillicrap et al. 2016, https://arxiv.org/abs/1509.02971)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from rljax.agents import off_policy_actor_critic as base
from rljax.agents.variants import variant_of
from rljax.networks import ActorAndCritics
from rljax.types import Agent, Environment, Update
from rljax.updates import (
    actor_loss,
    chain,
    critic_loss,
    critic_target,
    gradient,
    target_network,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(base.Hparams):
    """The hyperparameters of DDPG: traced, so a sweep compiles once."""


def learn(ac: ActorAndCritics, hp: Hparams, optimizers: base.Optimizers) -> Update:
    """Algorithm 1 of the paper, from a sample on."""
    return chain(
        critic_target(ac, partial(ac.choices, part="target_actor")),
        gradient(critic_loss(ac), optimizers.critic, part="critic"),
        gradient(actor_loss(ac), optimizers.actor, part="actor"),
        target_network(hp.tau, part="critic", target="target_critic"),
        target_network(hp.tau, part="actor", target="target_actor"),
    )


@variant_of(base.off_policy_actor_critic, *base.CHOSEN)
def ddpg(
    env: Environment,
    *,
    hparams: Hparams | None = None,
    agent: str = "ddpg",
    **arguments: Any,
) -> Agent:
    """Q-learning for continuous actions: a policy learns which action the critic values most."""
    return base.off_policy_actor_critic(
        env,
        learn=learn,
        kind=Hparams,
        hparams=hparams,
        agent=agent,
        **arguments,
    )


ddpg.Hparams = Hparams  # type: ignore[attr-defined]
