"""Recurrences that need no loop."""

import chex
import jax
import jax.numpy as jnp


@jax.custom_vjp
def linear_recurrence(factor: jax.Array, added: jax.Array, start: jax.Array) -> jax.Array:
    """h_t = factor_t h_{t-1} + added_t for all t, elementwise, in a number of steps like log(L).

    A factor of 0 begins anew. The derivative is a recurrence of the same kind, from the end.

    Args:
        factor: [L, ...].
        added: [L, ...].
        start: [...], h before the first step.

    Returns:
        h [L, ...].

    Source: Blelloch 1990, section 1.4, https://www.cs.cmu.edu/~guyb/papers/Ble93.pdf; for training
    over time: Martin and Cundy 2018, https://arxiv.org/abs/1709.04057.
    """
    chex.assert_equal_shape([factor, added])
    chex.assert_shape(start, factor.shape[1:])
    return _scan(factor, added.at[0].add(factor[0] * start))


def _scan(factor: jax.Array, added: jax.Array, reverse: bool = False) -> jax.Array:
    def then(first: tuple, second: tuple) -> tuple:
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(then, (factor, added), reverse=reverse)[1]


def _forward(factor: jax.Array, added: jax.Array, start: jax.Array):
    h = linear_recurrence(factor, added, start)
    return h, (factor, start, h)


def _backward(kept: tuple, gradient: jax.Array):
    factor, start, h = kept
    following = jnp.concatenate([factor[1:], jnp.zeros_like(factor[:1])])
    of_added = _scan(following, gradient, reverse=True)
    before = jnp.concatenate([start[None], h[:-1]])
    return of_added * before, of_added, of_added[0] * factor[0]


linear_recurrence.defvjp(_forward, _backward)
