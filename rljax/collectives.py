"""The one place that combines what several devices have found.

Inside an agent that `rljax.pmap` has spread, every device runs the same program on its share of
the environments, and these functions combine what the devices found. Anywhere else there is one
share, the whole, and each of them gives back what it was given. So updates are written once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

from rljax.errors import UsageError, check_divides
from rljax.types import Key

ENVIRONMENTS = "environments"  # the axis over which updates are combined
MEMBERS = "members"  # that of a population's members, who learn alone
MODEL = "model"  # that of parameters too large for one device
REPLICAS_DIFFER = "replicas/differ"  # the metric that says whether they do

_part: ContextVar[tuple[int, int] | None] = ContextVar("rljax_part", default=None)


def count() -> int:
    """How many devices share the environments of the agent being traced; 1 outside of `pmap`."""
    try:
        return jax.lax.axis_size(ENVIRONMENTS)
    except NameError:
        others = set(jax.sharding.get_abstract_mesh().manual_axes) - {MEMBERS}
        if others:
            raise UsageError(
                f"an agent is mapped over the axis {min(others)!r}, which its updates do not "
                f"average over: use rljax.pmap(agent), or the axis name {ENVIRONMENTS!r}"
            ) from None
        return 1


def pmean(tree: Any) -> Any:
    """The mean over devices of every leaf: what gradients and metrics need, in one all-reduce."""
    return tree if count() == 1 else jax.lax.pmean(tree, ENVIRONMENTS)


def psum(tree: Any) -> Any:
    """The sum over devices of every leaf."""
    return tree if count() == 1 else jax.lax.psum(tree, ENVIRONMENTS)


def pmin(tree: Any) -> Any:
    """The minimum over devices of every leaf."""
    return tree if count() == 1 else jax.lax.pmin(tree, ENVIRONMENTS)


def environments(tree: Any) -> Any:
    """The environments of all devices, in order, from this device's: leaves [T, N / D, ...] to
    [T, N, ...]."""
    if count() == 1:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, ENVIRONMENTS, axis=1, tiled=True), tree)


def fold_in(key: Key) -> Key:
    """The key of this device, for what should differ between them; consumes the key."""
    return key if count() == 1 else jax.random.fold_in(key, jax.lax.axis_index(ENVIRONMENTS))


@contextmanager
def part(first: int, total: int) -> Iterator[None]:
    """While tracing within it, environments are those from number `first` on out of `total`."""
    token = _part.set((first, total))
    try:
        yield
    finally:
        _part.reset(token)


def places(envs: int) -> tuple[jax.Array, int]:
    """The places int32 [envs] of the environments of this device, or actor, among all N, and N."""
    here = jnp.arange(envs, dtype=jnp.int32)
    if count() == 1:
        first, total = _part.get() or (0, envs)
        return here + first, total
    return here + envs * jax.lax.axis_index(ENVIRONMENTS), envs * count()


def row_keys(key: Key, time: int, envs: int) -> Key:
    """A key for each row [T, N] of a batch; consumes the key.

    A row has the key of its place among those of all devices. So what is drawn with it is the same
    for any number of devices.
    """
    place, total = places(envs)
    numbers = total * jnp.arange(time, dtype=jnp.int32)[:, None] + place
    return jax.vmap(jax.vmap(lambda number: jax.random.fold_in(key, number)))(numbers)


def shares_of_members() -> int:
    """How many devices share the members of the population being traced; 1 outside of `pmap`."""
    try:
        return jax.lax.axis_size(MEMBERS)
    except NameError:
        return 1


def members(tree: Any) -> Any:
    """The members of all devices, in order, from this device's: leaves [P / D, ...] to [P, ...]."""
    if shares_of_members() == 1:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, MEMBERS, tiled=True), tree)


def own_members(tree: Any) -> Any:
    """This device's members out of all: leaves [P, ...] to [P / D, ...]."""
    shares = shares_of_members()
    if shares == 1:
        return tree
    here = jax.lax.axis_index(MEMBERS)
    return jax.tree.map(lambda x: x.reshape(shares, -1, *x.shape[1:])[here], tree)


def copy_member(tree: Any, source: jax.Array, target: jax.Array) -> Any:
    """Leaves [P / D, ...] with member `target` a copy of `source`, of all P; written in place."""
    shares = shares_of_members()

    def one(x: jax.Array) -> jax.Array:
        size = len(x)
        if shares == 1:
            return x.at[target].set(x[source])
        copied = jax.lax.all_gather(x[source % size], MEMBERS)[source // size]
        mine = jax.lax.axis_index(MEMBERS) == target // size
        return x.at[jnp.where(mine, target % size, size)].set(copied, mode="drop")

    return jax.tree.map(one, tree)


def share(what: str, size: int) -> int:
    """This device's part of `size`; UsageError, naming `what`, if it does not divide."""
    check_divides(what, size, "the number of devices", count())
    return size // count()


def differ(tree: Any) -> jax.Array:
    """Whether a tree is not the same, to the bit, on every device; bool []."""
    here = jnp.uint32(0)
    for leaf in jax.tree.leaves(tree):
        here = here * 31 + _checksum(leaf)
    # The largest of a number and of its complement: one all-reduce for both extremes.
    most, least_complement = jax.lax.pmax(jnp.stack([here, ~here]), ENVIRONMENTS)
    return most != ~least_complement


def _checksum(x: jax.Array) -> jax.Array:
    """A number that any change of an array's bits, or of their order, is likely to change."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.dtype != bool:
        x = jax.lax.bitcast_convert_type(x, f"uint{8 * min(x.dtype.itemsize, 4)}")
    words = x.ravel().astype(jnp.uint32)
    # Odd, because an even factor would drop the highest bit: the sign of a float.
    return jnp.sum(words * (2 * jnp.arange(words.size, dtype=jnp.uint32) + 1))
