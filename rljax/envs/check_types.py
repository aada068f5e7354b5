"""Whether observations and states are what their spaces, and what other steps, say."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.findings import Finding


def changes(name: str, before: Any, after: Any, where: str) -> Iterator[Finding]:
    """How the types of a state or an observation after a step differ from those after a reset."""
    old, new = (
        {name + jax.tree_util.keystr(path): leaf for path, leaf in found}
        for found in map(jax.tree_util.tree_leaves_with_path, (before, after))
    )
    if jax.tree.structure(before) != jax.tree.structure(after):  # type: ignore[operator]
        lost, added = sorted(set(old) - set(new)), sorted(set(new) - set(old))
        what = [f"it lacks {', '.join(lost)}"] if lost else []
        what += [f"it adds {', '.join(added)}"] if added else []
        yield Finding(
            f"{name} is built otherwise by step than by reset"
            f"{': ' + ' and '.join(what) if what else ''}; both must have the same parts, in the "
            "same containers",
            where,
        )
        return
    for path, x, y in ((path, old[path], new[path]) for path in old):
        if x.shape != y.shape:
            yield Finding(
                f"{path} has shape {shape_of(x.shape)} after reset and {shape_of(y.shape)} after "
                "step: both must be the same",
                where,
            )
        elif x.dtype != y.dtype:
            loses = is_key(x) or is_key(y) or not np.can_cast(y.dtype, x.dtype, "same_kind")
            effect = "loses what does not fit" if loses else "is what will be used"
            yield Finding(
                f"{path} is {x.dtype} after reset and {y.dtype} after step, and cast to "
                f"{x.dtype}, which {effect}: start with jnp.asarray(..., jnp.{y.dtype}) in reset",
                where,
                is_error=loses,
            )


def unlike(space: Any, obs: Any, where: str) -> Iterator[Finding]:
    """How the type of an observation differs from what its space says."""
    for path, part, leaf in parts(space, obs):
        shape = getattr(leaf, "shape", None)
        if shape != tuple(part.shape):
            yield Finding(
                f"{path} has shape {shape_of(shape)}, and its space says {spaces.describe(part)}: "
                "make them the same",
                where,
            )
        elif isinstance(part, spaces.Discrete) and not jnp.issubdtype(leaf.dtype, jnp.integer):
            yield Finding(f"{path} is {leaf.dtype}, and Discrete means whole numbers", where)
        elif isinstance(part, spaces.Box) and leaf.dtype != np.dtype(part.dtype):
            yield Finding(
                f"{path} is {leaf.dtype}, and its space says {np.dtype(part.dtype)}: make them "
                "the same",
                where,
            )


def outside(path: str, space: Any, low: Any, high: Any, where: str) -> Iterator[Finding]:
    """How observations between `low` and `high`, arrays of their shape, leave their space."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        yield Finding(f"{path} becomes NaN or infinite under random actions", where)
        return
    discrete = isinstance(space, spaces.Discrete)
    bounds = (0, space.n - 1) if discrete else (space.low, space.high)
    least, most = (np.asarray(bound, np.float64) for bound in bounds)
    slack = 1e-5 * np.maximum(1.0, np.where(np.isfinite(most), np.abs(most), 1.0))
    for value, beyond in ((low, low < least - slack), (high, high > most + slack)):
        if np.any(beyond):
            index = tuple(int(i) for i in np.argwhere(beyond)[0])
            place = f"{path}[{', '.join(map(str, index))}]" if index else path
            yield Finding(
                f"{place} was {np.asarray(value)[index]:.6g}, outside {spaces.describe(space)}: "
                "give the space wider bounds, or clip",
                where,
            )
            return


def parts(space: Any, *trees: Any, path: str = "obs") -> Iterator[tuple]:
    """The path, the space and the leaf of each tree, for all parts of an observation."""
    if not isinstance(space, spaces.Dict):
        yield path, space, *trees
        return
    for name, part in space.spaces.items():
        inner = (tree.get(name) if isinstance(tree, dict) else None for tree in trees)
        yield from parts(part, *inner, path=f"{path}[{name!r}]")


def is_key(x: Any) -> bool:
    """Whether an array is of random keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def count_of(given: Any) -> str:
    """What a function returned, in a sentence: so many values, or one of a type."""
    return f"{len(given)} values" if isinstance(given, tuple) else f"a {type(given).__name__}"


def shape_of(shape: Any) -> str:
    """A shape in a sentence; None where there is none."""
    return "of its own" if shape is None else str(list(shape))
