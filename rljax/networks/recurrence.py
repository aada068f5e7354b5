"""Networks over time: sequences, and the carry between their steps."""

from typing import Any

import jax
import jax.numpy as jnp

from rljax.networks.network import Network
from rljax.types import Actor, Agent, Carry, Key, Obs, Params


def unroll(
    network: Network,
    params: Params,
    obs: Obs,
    carry: Carry,
    done: jax.Array,
    key: Key | None = None,
) -> tuple[Any, Carry]:
    """The outputs [L, B, ...] of sequences that may cross episode ends, and carries [L, B, ...].

    A carry is the one behind its step, as the step leaves it: where the episode ended there, the
    next step begins with another.

    Args:
        obs: [L, B, ...].
        carry: [B, ...], the one before the first observation; () if feed-forward.
        done: [L, B], whether the episode ended *at* each step: the carry starts again after it.
        key: of the network's noise, the same in all steps; None for none.
    """
    if not jax.tree.leaves(carry):
        return network.apply(params, obs, carry, key)
    if network.unroll is not None:
        return network.unroll(params, obs, carry, done, key)

    def step(carry, inputs):
        obs_t, done_t = inputs
        outputs, carry = network.apply(params, obs_t, carry, key)
        return reset_carry(network, carry, done_t), (outputs, carry)

    return jax.lax.scan(step, carry, (obs, done))[1]


def reset_carry(network: Network | Actor | Agent, carry: Carry, done: jax.Array) -> Carry:
    """The carry [N, ...] with the rows of finished episodes back at the start."""
    fresh = network.initial_carry(done.shape)
    return jax.tree.map(
        lambda new, old: jnp.where(
            done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old
        ),
        fresh,
        carry,
    )


def of_first_row(carry: Carry) -> Carry:
    """The carry [B, ...] of the first row, of those of a batch [L, B, ...]."""
    return jax.tree.map(lambda x: x[0], carry)
