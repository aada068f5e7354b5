"""Policy losses, elementwise over any leading axes; the caller averages."""

import chex
import jax
import jax.numpy as jnp


def policy_gradient_loss(log_prob: jax.Array, advantage: jax.Array) -> jax.Array:
    """-log pi(a|s) A, whose gradient is that of the return.

    Source: Williams 1992, eq. 4, https://doi.org/10.1007/BF00992696.
    """
    chex.assert_equal_shape([log_prob, advantage])
    return -log_prob * advantage


def clipped_surrogate(log_ratio: jax.Array, advantage: jax.Array, clip_eps) -> jax.Array:
    """-min(r A, clip(r, 1 - eps, 1 + eps) A), with r = exp(log_ratio).

    Source: Schulman et al. 2017, eq. 7, https://arxiv.org/abs/1707.06347.
    """
    chex.assert_equal_shape([log_ratio, advantage])
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - clip_eps, 1.0 + clip_eps)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def penalized_surrogate(log_ratio: jax.Array, advantage: jax.Array, kl, kl_coef) -> jax.Array:
    """-(r A - beta KL[old, new]).

    Source: Schulman et al. 2017, eq. 8, https://arxiv.org/abs/1707.06347.
    """
    chex.assert_equal_shape([log_ratio, advantage, kl])
    return -(jnp.exp(log_ratio) * advantage - kl_coef * kl)


def adapted_kl_coef(kl_coef, kl, target_kl):
    """Halve the penalty when the policy moved less than target / 1.5, double it above 1.5 target.

    Source: Schulman et al. 2017, section 4, https://arxiv.org/abs/1707.06347. Kept within
    [1e-6, 1e6], so that a run of one-sided steps cannot make it infinite or zero.
    """
    factor = jnp.where(kl < target_kl / 1.5, 0.5, jnp.where(kl > target_kl * 1.5, 2.0, 1.0))
    return jnp.clip(kl_coef * factor, 1e-6, 1e6)


def value_loss(value: jax.Array, target: jax.Array) -> jax.Array:
    """Half the squared error."""
    chex.assert_equal_shape([value, target])
    return 0.5 * jnp.square(value - target)


def clipped_value_loss(value, old_value, target, clip_eps) -> jax.Array:
    """The worse of the plain loss and the loss of a value that moved at most `clip_eps`.

    Source: the PPO of OpenAI baselines; Andrychowicz et al. 2021, https://arxiv.org/abs/2006.05990,
    find it does not help, so it is an option and not the default.
    """
    chex.assert_equal_shape([value, old_value, target])
    clipped = old_value + jnp.clip(value - old_value, -clip_eps, clip_eps)
    return jnp.maximum(value_loss(value, target), value_loss(clipped, target))


def approximate_kl(log_ratio: jax.Array) -> jax.Array:
    """The low-variance, unbiased estimate (r - 1) - log r of KL[old, new].

    Source: Schulman 2020, estimator k3, http://joschu.net/blog/kl-approx.html.
    """
    return jnp.expm1(log_ratio) - log_ratio
