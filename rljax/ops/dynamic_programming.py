"""Exact values of a finite problem whose dynamics are known."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def value_iteration(
    probability: jax.typing.ArrayLike,
    reward: jax.typing.ArrayLike,
    gamma: jax.typing.ArrayLike,
    tolerance: float = 1e-7,
    max_iterations: int = 100_000,
) -> jax.Array:
    """Optimal action values q [S, A] from probability [S, A, S] and expected reward [S, A].

        q(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) max_a' q(s', a')

    `probability` is that of going on to s': steps that terminate have no share in it. Starts from
    0 and ends when no value changes by more than `tolerance` times the largest, or after
    `max_iterations` (undiscounted values without an end to reach grow for ever). The relative
    error left is about tolerance / (1 - gamma), in float32 never below 1e-7 / (1 - gamma).

    Source: Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., eq. 4.2 and 4.10.
    """
    return _solve(lambda q: q.max(axis=1), probability, reward, gamma, tolerance, max_iterations)


def policy_evaluation(
    probability: jax.typing.ArrayLike,
    reward: jax.typing.ArrayLike,
    policy: jax.typing.ArrayLike,
    gamma: jax.typing.ArrayLike,
    tolerance: float = 1e-7,
    max_iterations: int = 100_000,
) -> jax.Array:
    """Action values q [S, A] of a policy [S, A], the probability of each action in each state.

        q(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) sum_a' policy(a' | s') q(s', a')

    The rest is as in `value_iteration`. It iterates because LAPACK's batched solvers can deadlock
    under `vmap` on a CPU with few cores.

    Source: Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., eq. 4.4 and 4.5.
    """
    policy = jnp.asarray(policy)
    return _solve(
        lambda q: (policy * q).sum(axis=1), probability, reward, gamma, tolerance, max_iterations
    )


def _solve(
    state_value: Callable[[jax.Array], jax.Array],
    probability: jax.typing.ArrayLike,
    reward: jax.typing.ArrayLike,
    gamma: jax.typing.ArrayLike,
    tolerance: float,
    max_iterations: int,
) -> jax.Array:
    """The q [S, A] that equals its own backup, with states worth `state_value(q)` [S]."""
    probability, reward = jnp.asarray(probability), jnp.asarray(reward)

    def unsettled(carry):
        q, change, iteration = carry
        return (change > tolerance * jnp.abs(q).max()) & (iteration < max_iterations)

    def backup(carry):
        old, _, iteration = carry
        # GPUs multiply matrices in 19 bits unless asked not to.
        future = jnp.matmul(probability, state_value(old), precision="highest")
        q = reward + gamma * future
        return q, jnp.abs(q - old).max(), iteration + 1

    start = jnp.zeros_like(reward), jnp.asarray(jnp.inf, reward.dtype), jnp.int32(0)
    return jax.lax.while_loop(unsettled, backup, start)[0]
