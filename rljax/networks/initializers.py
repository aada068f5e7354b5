"""Initial weights."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp


def orthogonal(scale: float = 1.0) -> Callable[..., jax.Array]:
    """Orthogonal weights times `scale`, without LAPACK.

    The orthogonal factor of a Gaussian matrix's polar decomposition is Haar distributed, as QR's
    is after fixing signs; Newton-Schulz iterations find it with matrix products alone. LAPACK's
    batched QR, which flax's initializer calls, can deadlock on a CPU with few cores under vmap.

    Source: Saxe et al. 2014, https://arxiv.org/abs/1312.6120; Higham 2008, Functions of Matrices,
    section 8.3 (the quintic, Pade-type iteration).
    """

    def init(key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
        return scale * _orthogonal(key, tuple(shape), jnp.dtype(dtype))

    return init


# Flax asks an initializer for its shape in each call of a network: so it is traced once.
@partial(jax.jit, static_argnames=("shape", "dtype"), inline=True)
def _orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    columns = shape[-1]
    rows = math.prod(shape[:-1])
    matrix = jax.random.normal(key, (max(rows, columns), min(rows, columns)), dtype)
    matrix = _polar_factor(matrix)
    if rows < columns:
        matrix = matrix.T
    return matrix.reshape(shape)


def _polar_factor(matrix: jax.Array, iterations: int = 30) -> jax.Array:
    """The nearest matrix [m, n] (m >= n) with orthonormal columns."""
    identity = jnp.eye(matrix.shape[1], dtype=matrix.dtype)

    def refine(_, x):
        # Converges for singular values in (0, sqrt(7/3)); dividing by the norm puts them there.
        gram = jnp.matmul(x.T, x, precision="highest")
        polynomial = 15 * identity - 10 * gram + 3 * jnp.matmul(gram, gram, precision="highest")
        return jnp.matmul(x, polynomial, precision="highest") / 8

    return jax.lax.fori_loop(0, iterations, refine, matrix / jnp.linalg.norm(matrix))
