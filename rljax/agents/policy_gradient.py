"""What REINFORCE and A2C share: everything but the advantage.

PPO takes the same step several times over, with a loss that keeps it near the policy that acted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rljax import ops
from rljax.agents.assembly import on_policy
from rljax.networks import ActorCritic
from rljax.types import Agent, Batch, Environment, Update
from rljax.updates import (
    actor_critic_loss,
    chain,
    clipped_adam,
    gradient,
    learning_rate,
    observation_statistics,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams:
    """The numbers of a policy gradient: traced, so they can be swept without compiling again."""

    lr: float = 2e-3
    """Adam's learning rate (at the start, where it is annealed)."""
    gamma: float = 0.99
    """Discount per step."""
    value_coef: float = 0.5
    """Weight of the value loss."""
    entropy_coef: float = 0.01
    """Weight of the entropy bonus."""
    max_grad_norm: float = 0.5
    """Global norm at which gradients are clipped."""
    adam_eps: float = 1e-5
    """Adam's denominator offset."""


def policy_gradient(
    env: Environment,
    actor_critic: ActorCritic,
    advantage: Callable[[Any], Update],
    hparams: Hparams,
    num_envs: int,
    rollout_length: int,
    total_env_steps: int,
    schedule_env_steps: int | None,
    anneal_lr: bool,
    first: Update | None = None,
    learn_values: bool = True,
    normalize_observations: bool = False,
) -> Agent:
    """One gradient step on each rollout, up log-probability x advantage.

    `advantage(hparams)` writes advantage [T, N] and, if values are learnt, target [T, N]. The
    other arguments are those of `a2c`.
    """

    def policy_loss(pi, outputs, batch: Batch):
        log_prob = pi.log_prob(batch.extras["raw_action"])
        return ops.policy_gradient_loss(log_prob, batch.extras["advantage"]), {}

    def value_loss(value, batch: Batch):
        return ops.value_loss(value, batch.extras["target"]) if learn_values else jnp.zeros(())

    def update(hp: Hparams, progress: jax.Array) -> Update:
        loss = actor_critic_loss(
            actor_critic, policy_loss, value_loss, hp.value_coef, hp.entropy_coef
        )
        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = clipped_adam(lr, hp.max_grad_norm, hp.adam_eps)
        return chain(
            first,
            advantage(hp),
            gradient(loss, optimizer),
            observation_statistics(actor_critic.net.encode) if normalize_observations else None,
        )

    return on_policy(
        env,
        actor_critic.actor,
        update,
        hparams,
        num_envs,
        rollout_length,
        total_env_steps,
        schedule_env_steps,
    )
