"""Comparing states of training, leaf by leaf, to the bit."""

import hashlib
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

# Compiling is nearly all that tests of whole agents do.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@contextmanager
def compiled_quickly():
    """Within it, what code that is not ours to change compiles is not optimised either."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def is_key(x) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def arrays(tree) -> dict[str, np.ndarray]:
    """Every leaf by its path, as NumPy; keys as their bits."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(
            jax.random.key_data(x) if is_key(x) else x
        )
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def digest(tree) -> dict[str, str]:
    """SHA-256 of every leaf by its path: its type, its shape and every bit of it."""
    return {
        path: hashlib.sha256(f"{x.dtype}{x.shape}".encode() + x.tobytes()).hexdigest()
        for path, x in arrays(tree).items()
    }


def different_leaves(first, second) -> list[str]:
    """Paths of leaves that differ in type, shape or any bit."""
    first, second = digest(first), digest(second)
    assert first.keys() == second.keys()
    return [path for path, x in first.items() if x != second[path]]
