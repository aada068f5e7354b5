"""Advantages and value targets from rewards."""

import chex
import jax
import jax.numpy as jnp


def generalized_advantage(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma: jax.typing.ArrayLike,
    gae_lambda: jax.typing.ArrayLike,
) -> jax.Array:
    """Generalised advantage estimation over [T], [T, N] or, of several agents, [T, N, M].

        delta_t = r_t + gamma V(s'_t) (1 - terminated_t) - V(s_t)
        A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}

    `next_value` is the value of the observation the step led to, *before* any automatic reset:
    truncation bootstraps from it, termination does not, and nothing leaks across either. Agents of
    one environment end together: `terminated` and `truncated` are [T, N] for them, too.

    Source: Schulman et al. 2016, eq. 11 and 16, https://arxiv.org/abs/1506.02438; the split of
    "done": Pardo et al. 2018, eq. 5 and 6, https://arxiv.org/abs/1712.00378.
    """
    chex.assert_equal_shape([reward, value, next_value])
    terminated, truncated = of_each_reward(reward, terminated, truncated)
    delta = reward + gamma * next_value * (1.0 - terminated) - value
    decay = gamma * gae_lambda * (1.0 - (terminated | truncated))

    def backward(advantage, step):
        delta_t, decay_t = step
        advantage = delta_t + decay_t * advantage
        return advantage, advantage

    return jax.lax.scan(backward, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]


def of_each_reward(
    reward: jax.Array, terminated: jax.Array, truncated: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The ends of steps, in a shape that fits the rewards [T], [T, N] or [T, N, M].

    For M agents they are [T, N] and become [T, N, 1]; otherwise they stay as they are. Raises
    AssertionError for other shapes, which would broadcast to wrong numbers.
    """
    chex.assert_rank(reward, {1, 2, 3})
    chex.assert_equal_shape([terminated, truncated])
    if reward.ndim < 3:
        chex.assert_equal_shape([reward, terminated])
        return terminated, truncated
    chex.assert_rank(terminated, 2)
    chex.assert_equal_shape_prefix([reward, terminated], 2)
    return terminated[..., None], truncated[..., None]


def explained_variance(value: jax.Array, target: jax.Array) -> jax.Array:
    """1 - Var[target - value] / Var[target]; 1 is a perfect critic, 0 no better than a constant."""
    chex.assert_equal_shape([value, target])
    return 1.0 - jnp.var(target - value) / (jnp.var(target) + 1e-8)
