"""States as bytes, to compare them bit for bit."""

import hashlib

import jax
import numpy as np


def digest(state) -> dict[str, str]:
    """SHA-256 of each leaf's bytes, by its path."""

    def of(leaf) -> str:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()

    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): of(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
