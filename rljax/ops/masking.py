"""Action values and logits of which some belong to illegal actions."""

import jax
import jax.numpy as jnp
import numpy as np

ILLEGAL = float(np.finfo(np.float32).min) / 2
"""The value, or logit, of an illegal action: finite, so that 0 times it is 0, and below all others
by so much that its probability is 0."""


def only_legal(values: jax.Array, legal: jax.Array | None) -> jax.Array:
    """Values or logits [..., A], but `ILLEGAL` where `legal` bool [..., A] is False.

    Without a mask, None, they stay as they are. No gradient reaches what is replaced.

    Source: Huang and Ontanon 2022, section 2, https://arxiv.org/abs/2006.14171.
    """
    return values if legal is None else jnp.where(legal, values, ILLEGAL)


def is_legal(values: jax.Array) -> jax.Array:
    """Which of the actions of values [..., A] are legal, bool [..., A]."""
    return values > ILLEGAL
