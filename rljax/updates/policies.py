"""Policies that follow the gradient of what critics make of their actions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax.networks import ActorAndCritics
from rljax.types import Batch, Key, Metrics, Obs, Params
from rljax.updates.critics import Temperature
from rljax.updates.optimization import Loss

OfCritics = Callable[[jax.Array], jax.Array]
"""Values [E, ..., K] of E critics to one value [..., K]."""


def least(values: jax.Array) -> jax.Array:
    """Of each action the least of its values: [E, ..., K] to [..., K]."""
    return jnp.min(values, axis=0)


def average(values: jax.Array) -> jax.Array:
    """Of each action the mean of its values: [E, ..., K] to [..., K]."""
    return jnp.mean(values, axis=0)


def actor_loss(
    ac: ActorAndCritics,
    of_critics: OfCritics = average,
    num_critics: int | None = None,
    temperature: Temperature | None = None,
) -> Loss:
    """The negative value of what the policy does now, and of its entropy; a mean over the batch.

        -E[Q(s, a) - temperature x log pi(a | s)], a from pi

    Reads obs and, of several agents, action: a critic that reads the actions of all is given what
    its own agent does now, and what the others did. For `gradient(..., part="actor")`: the gradient
    goes through the critics to the action, as in the deterministic policy gradient and the
    reparameterised one; in a Discrete space the expectation is a sum, and needs no sample. With a
    temperature it gives entropy [T, N], which `gradient` writes into the batch.

    Args:
        ac: the policy and its critics.
        of_critics: `average` or `least`.
        num_critics: only so many critics, the first ones; all of them for None.
        temperature: what a nat of entropy is worth; None for a policy without.

    Source: Lillicrap et al. 2016, eq. 6, https://arxiv.org/abs/1509.02971; Haarnoja et al. 2018,
    eq. 9, https://arxiv.org/abs/1812.05905; Christodoulou 2019, eq. 12,
    https://arxiv.org/abs/1910.07207; of several agents Lowe et al. 2017, eq. 5,
    https://arxiv.org/abs/1706.02275.
    """
    which = None if num_critics is None else slice(num_critics)

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        chosen = ac.choices(params, batch.obs, key)
        estimates = ac.estimate(params, batch.obs, chosen.action, which=which, others=batch.action)
        values = of_critics(ac.value.q(estimates))
        worth = jnp.sum(chosen.probability * values, axis=-1) - chosen.cost
        if temperature is None:
            mean = -jnp.mean(worth)
            return mean, {"losses/policy_loss": mean}
        entropy, alpha = chosen.entropy, temperature(params)
        mean = -jnp.mean(worth + alpha * entropy)
        return mean, {
            "losses/policy_loss": mean,
            "losses/entropy": jnp.mean(entropy),
            "losses/temperature": alpha,
            "entropy": entropy,
        }

    return loss


def temperature_loss(target_entropy: float | jax.Array | Callable[[Obs], jax.Array]) -> Loss:
    """A loss that raises the temperature while the entropy is below `target_entropy`, in nats.

        log_temperature x (entropy - target_entropy), a mean over the batch

    The target is a number, or a function from observations [T, N, ...] to one for each, [T, N].
    Reads entropy [T, N] (from `actor_loss`), and obs for a target of that kind. For
    `gradient(..., part="temperature")`: that part is log_temperature [], up to a constant. The
    gradient is the paper's divided by the temperature, as in the authors' code, so it does not
    vanish with it.

    Source: Haarnoja et al. 2018, eq. 18, https://arxiv.org/abs/1812.05905.
    """

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        target = target_entropy(batch.obs) if callable(target_entropy) else target_entropy
        mean = params["temperature"] * jnp.mean(batch.extras["entropy"] - target)
        return mean, {"losses/temperature_loss": mean}

    return loss
