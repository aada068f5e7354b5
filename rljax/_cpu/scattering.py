"""Sums at a few places of an array, without a scatter.

XLA compiles a scatter for CPUs to a loop of its own. With few places it is cheaper to compare each
cell with them: all cells are written either way, and what follows can be fused.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from rljax._cpu import switch

FEW_PLACES = 4  # As measured: with more, a table of thousands of cells takes longer than a scatter.


def sums_at(
    index: tuple[jax.Array, ...], values: list[jax.Array], shape: tuple[int, ...]
) -> list[jax.Array]:
    """`jnp.zeros(shape).at[index].add(x)` for each of the values [...], to the bit.

    The indices [...], one array for each axis of the shape, are within it.
    """
    scattered, compared = (partial(f, shape=shape) for f in (_scattered, _compared))
    if not switch.is_on() or values[0].size > FEW_PLACES:
        return scattered(index, values)
    return jax.lax.platform_dependent(index, values, cpu=compared, default=scattered)


def _scattered(index, values, *, shape) -> list[jax.Array]:
    # One scatter for all of them: it is the slow part.
    sums = jnp.zeros((*shape, len(values))).at[index].add(jnp.stack(values, axis=-1))
    return [sums[..., i] for i in range(len(values))]


def _compared(index, values, *, shape) -> list[jax.Array]:
    places = jnp.ravel_multi_index(index, shape, mode="clip").ravel()
    cells = jnp.arange(math.prod(shape), dtype=places.dtype).reshape(shape)
    sums = [jnp.zeros(shape) for _ in values]
    for i in range(places.size):  # In order, as a scatter adds.
        here = cells == places[i]
        sums = [s + jnp.where(here, x.ravel()[i], 0.0) for s, x in zip(sums, values, strict=True)]
    return sums
