"""Rows of many arrays kept in one, so that to read a row at random is to miss the cache once.

A row is uint32 [W]: the leaves of a pytree one after the other, each in whole words, bit for bit.
A leaf of items smaller than words is cut into equal parts, as many as items fit into a word; its
words are the first part, the second shifted above it, and so on. One shift of all words then gives
a whole part back, which compiles to faster code than items that are neighbours in a word.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rljax.errors import ceil_div

WORD = jnp.dtype(jnp.uint32)


@dataclass(frozen=True)
class Layout:
    """What rows are made of: static and hashable, to go along with traced arrays."""

    structure: jax.tree_util.PyTreeDef
    leaves: tuple[jax.ShapeDtypeStruct, ...]  # of one row

    @property
    def row(self) -> Any:
        """The pytree that one row is, with shapes and dtypes in place of arrays."""
        return self.structure.unflatten(self.leaves)

    @property
    def words(self) -> int:
        """W, the words of a row."""
        return sum(map(_words, self.leaves))


def layout(tree: Any, leading: int) -> Layout:
    """The layout of rows given as arrays, or shapes of arrays, with so many axes before a row's."""
    leaves, structure = jax.tree.flatten(tree)
    rows = (jax.ShapeDtypeStruct(x.shape[leading:], x.dtype) for x in leaves)
    return Layout(structure, tuple(rows))


def pack(layout: Layout, tree: Any) -> jax.Array:
    """Rows uint32 [..., W] out of arrays [..., *shape in the layout] of its dtypes."""
    leaves = zip(layout.leaves, jax.tree.leaves(tree), strict=True)
    return jnp.concatenate([_pack(leaf, x) for leaf, x in leaves], -1)


def unpack(layout: Layout, rows: jax.Array) -> Any:
    """The arrays that `pack` made rows uint32 [..., W] of."""
    leaves, begin = [], 0
    for leaf in layout.leaves:
        end = begin + _words(leaf)
        leaves.append(_unpack(leaf, rows[..., begin:end]))
        begin = end
    return layout.structure.unflatten(leaves)


def _pack(leaf: jax.ShapeDtypeStruct, x: jax.Array) -> jax.Array:
    leading, size = x.shape[: x.ndim - len(leaf.shape)], _words(leaf)
    if leaf.dtype.itemsize >= WORD.itemsize:
        return jax.lax.bitcast_convert_type(x, WORD).reshape(*leading, size)
    if leaf.dtype == bool:
        x = x.astype(jnp.uint8)
    items = jax.lax.bitcast_convert_type(x, _unsigned(leaf)).reshape(*leading, _items(leaf))
    words = jnp.zeros((*leading, size), WORD)
    for i, shift in enumerate(_shifts(leaf)):
        part = items[..., i * size : (i + 1) * size].astype(WORD)
        missing = [(0, 0)] * len(leading) + [(0, size - part.shape[-1])]
        words |= jnp.pad(part, missing) << shift
    return words


def _unpack(leaf: jax.ShapeDtypeStruct, words: jax.Array) -> jax.Array:
    leading = words.shape[:-1]
    if leaf.dtype.itemsize >= WORD.itemsize:
        halves = (2,) if leaf.dtype.itemsize > WORD.itemsize else ()
        return jax.lax.bitcast_convert_type(
            words.reshape(*leading, *leaf.shape, *halves), leaf.dtype
        )
    parts = [(words >> shift).astype(_unsigned(leaf)) for shift in _shifts(leaf)]
    if leaf.dtype == bool:
        parts = [part.astype(bool) for part in parts]  # Here and not below, for speed.
    items = jnp.concatenate(parts, -1)[..., : _items(leaf)]
    return jax.lax.bitcast_convert_type(items.reshape(*leading, *leaf.shape), leaf.dtype)


def _words(leaf: jax.ShapeDtypeStruct) -> int:
    return ceil_div(_items(leaf) * leaf.dtype.itemsize, WORD.itemsize)


def _items(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.shape)


def _unsigned(leaf: jax.ShapeDtypeStruct) -> Any:
    return jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")


def _shifts(leaf: jax.ShapeDtypeStruct) -> range:
    """How many bits each part of a leaf of small items is shifted by."""
    return range(0, 8 * WORD.itemsize, 8 * leaf.dtype.itemsize)
