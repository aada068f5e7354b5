"""JAX's own random numbers, compiled for CPUs into faster programs.

`jax.random` draws from Threefry unless it is told otherwise. For CPUs JAX writes its twenty rounds
as a loop, which XLA runs as a dozen small programs and copies for each call. Importing this module
has them written out instead, in all programs of the process that are compiled for a CPU from then
on: the numbers are the same, to the bit.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.2,
https://doi.org/10.1145/2063384.2063405.
"""

import jax
import jax.numpy as jnp
from jax.extend.random import threefry2x32_p
from jax.interpreters import mlir

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry2x32(
    key0: jax.Array, key1: jax.Array, count0: jax.Array, count1: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Two words uint32 for each key and count, two words each, which broadcast together."""
    key = (key0, key1, key0 ^ key1 ^ jnp.uint32(PARITY))
    x, y = count0 + key[0], count1 + key[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x = x + y
            y = x ^ (y << rotation | y >> 32 - rotation)
        x = x + key[(group + 1) % 3]
        y = y + key[(group + 2) % 3] + jnp.uint32(group + 1)
    return x, y


def _lowered(*words: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Or XLA would make each number anew wherever it is used, and x and y apart from each other.
    both = jax.lax.optimization_barrier(jnp.stack(threefry2x32(*words)))
    return both[0], both[1]


mlir.register_lowering(
    threefry2x32_p, mlir.lower_fun(_lowered, multiple_results=True), platform="cpu"
)
