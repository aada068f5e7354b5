"""Losses of more than one agent, to put into `gradient`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.networks import ActorCritic
from rljax.networks.distributions import Distribution
from rljax.types import Batch, Key, Metrics, Params
from rljax.updates.optimization import Loss

PolicyLoss = Callable[[Distribution, jax.Array, Batch], tuple[jax.Array, Metrics]]
ValueLoss = Callable[[jax.Array, Batch], jax.Array]


def actor_critic_loss(
    actor_critic: ActorCritic,
    policy_loss: PolicyLoss,
    value_loss: ValueLoss,
    value_coef,
    entropy_coef,
) -> Loss:
    """Policy loss + value_coef x value loss - entropy_coef x entropy, each a mean over a batch.

    Args:
        actor_critic: what learns; a recurrent one is unrolled over the batch [L, B].
        policy_loss: `(distributions, their outputs [L, B, K], batch)` to losses [L, B], metrics.
        value_loss: `(values [L, B], batch)` to losses [L, B].
        value_coef: weight of the value loss.
        entropy_coef: weight of the entropy bonus.

    Source: Mnih et al. 2016, section 4, https://arxiv.org/abs/1602.01783.
    """

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        pi, outputs, values = actor_critic.unroll(params, batch, key)
        policy_losses, metrics = policy_loss(pi, outputs, batch)
        of_policy, of_value = jnp.mean(policy_losses), jnp.mean(value_loss(values, batch))
        entropy = jnp.mean(pi.entropy(collectives.fold_in(key)))
        return of_policy + value_coef * of_value - entropy_coef * entropy, {
            "losses/policy_loss": of_policy,
            "losses/value_loss": of_value,
            "losses/entropy": entropy,
            **metrics,
        }

    return loss
