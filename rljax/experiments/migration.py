"""Checkpoints of earlier versions: what the leaves of a state were called, and are called now."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Renames = Sequence[tuple[str, str]]

RENAMES: Renames = (
    # The target network of DQN became a part of the parameters.
    (r"^learner/params/", "learner/params/online/"),
    (r"^learner/update_state/1/1/0/", "learner/params/target/"),
    (r"^learner/update_state/1/1/1$", "learner/update_state/1/1"),
    (r"^learner/update_state/1/2/", "learner/update_state/1/3/"),
    # Options and traces stand beside the carry of who acts.
    (r"^worker/carry/(action|steps_left)$", r"worker/carry/1/\1"),
    (r"^worker/carry$", "worker/carry/1"),
    # The target network of DQN moves before anything else.
    (r"^learner/update_state/1/1$", "learner/update_state/1/0"),
)
"""A regular expression for the path of a leaf as it was saved, and what replaces the match.

When a leaf of `State` moves, add a pair at the end. All pairs apply in order, so a path may take
several steps. Renames are used only where a checkpoint has other leaves than the state has now, and
only if they lead to exactly those: `tests/experiments/test_golden.py` holds such a checkpoint.
Hyperparameters that a checkpoint does not have yet get their defaults.
"""
HPARAMS = "hparams/"


def renamed(path: str, renames: Renames = RENAMES) -> str:
    """What the leaf is called now that was saved at `path`, such as "learner/params/kernel"."""
    for pattern, replacement in renames:
        path = re.sub(pattern, replacement, path)
    return path


def restore(read: Callable[[Any], Any], like: Any, saved: Any, renames: Renames = RENAMES) -> Any:
    """A state of the structure of `like` from a checkpoint whose leaves may have earlier names.

    Args:
        read: reads the checkpoint, given a tree of its own structure with shapes and dtypes.
        like: shapes and dtypes of the state as it is now.
        saved: a tree of the structure of the checkpoint.
    """
    wanted, before = by_path(like), by_path(saved)
    if before.keys() == wanted.keys():
        return read(like)
    for tried in ((), renames):
        now = {path: renamed(path, tried) for path in before}
        new = wanted.keys() - set(now.values())
        if set(now.values()) <= wanted.keys() and all(p.startswith(HPARAMS) for p in new):
            break
    else:
        return read(like)  # whose error says what is wrong
    found = by_path(read(jax.tree.map_with_path(lambda path, _: wanted[now[_name(path)]], saved)))
    arrays = {now[path]: leaf for path, leaf in found.items()}
    arrays |= {path: _default(like, path, wanted[path]) for path in new}
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[path] for path in wanted])


def _default(like: Any, path: str, leaf: Any) -> jax.Array:
    """The default of a hyperparameter, where and how `leaf` describes it."""
    default: Any = getattr(type(like.hparams)(), path.removeprefix(HPARAMS))
    return jax.device_put(jnp.full(leaf.shape, default, leaf.dtype), leaf.sharding)


def by_path(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths, in the order of the tree."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
