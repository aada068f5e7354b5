"""Rows of experience on the device, in a ring that is written in place: what all buffers share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rljax import collectives
from rljax.errors import UsageError, ceil_div, check_divides
from rljax.replay import packing
from rljax.replay.capacity import check_memory, size_in_bytes
from rljax.replay.packing import Layout
from rljax.types import Extras, Key, Transition

MOST_ROWS = 2**30  # With the sums over them, what an int32 can number.


@struct.dataclass
class ReplayState:
    """All that is stored: every leaf leads with N, so that it splits over devices."""

    storage: jax.Array  # [N, L, W] uint32, L rows of each environment; extras only those asked for
    firsts: Any  # [N, L / stride, V] uint32, what is stored of the rows that begin windows; or ()
    cursor: jax.Array  # [N] int32, the row that the next rollout begins at
    size: jax.Array  # [N] int32, rows written, at most L
    priorities: Any  # what prioritized replay adds [N, ...], or ()
    rollout_length: int = struct.field(pytree_node=False)  # T, which divides L
    layout: Layout = struct.field(pytree_node=False)  # from the W words of a row to a Transition
    first_layout: Layout = struct.field(pytree_node=False)  # from V words to extras by name


class Replay(NamedTuple):
    """A replay buffer, as pure functions over a state on the device.

    `init` reads only the shapes and dtypes of a rollout [T, N, ...]; `add` takes such rollouts,
    each going on where the last one ended. `sample` takes windows [K, B, ...] of K consecutive
    steps of one environment, with replacement, and annotates them with `row` int32 [K, B] (row
    l of environment n is n * L + l) and `weight` float32 [K, B], the factor of their loss. There
    is something to sample once K rows of each environment have been added.

    Extras that are stored of the first rows of windows alone are [1, B, ...] in a sample.

    Episodes may end inside a window: what looks along it has to stop where `terminated` or
    `truncated` says so. `next_obs` is what was observed there, never the start of another episode.

    States are written in place where they are donated. Where one compiled loop both adds and
    samples, it should add first: sampling from what is about to be overwritten costs a copy.
    """

    init: Callable[[Transition], ReplayState]
    add: Callable[[ReplayState, Transition], ReplayState]
    sample: Callable[[ReplayState, Key], Transition]
    prioritize: Callable[[ReplayState, Transition], ReplayState]
    """Reads `row` and `priority` [M, B] of a sample: those of the rows that were learnt from."""


def init(
    example: Transition,
    buffer_size: int,
    window: int,
    extras: tuple[str, ...],
    stride: int = 1,
    first_extras: tuple[str, ...] = (),
    priorities: Callable[[int, int], Any] = lambda envs, length: (),
) -> ReplayState:
    """An empty buffer of `buffer_size` rows, rounded up to L = whole rollouts for each of N.

    Args:
        first_extras: names of the extras to store of the rows that begin windows alone.
        priorities: from N and L to what else there is to store.

    Raises UsageError, before anything is allocated, if the rows do not fit into device memory or an
    int32, or a window not into L. (`rljax.vmap` counts the members of a population.)
    """
    time, envs = example.terminated.shape
    length = ceil_div(buffer_size, time * envs * collectives.count()) * time
    if envs * length > MOST_ROWS:
        raise UsageError(f"buffer_size = {buffer_size} is too large: make it at most {MOST_ROWS}")
    check_divides("rollout_length", time, "stride", stride)
    if window > length:
        raise UsageError(
            f"window = {window} is longer than the {length} rows of each of {envs} environments "
            f"that buffer_size = {buffer_size} gives: make window at most {length}, "
            f"or buffer_size at least {window * envs * collectives.count()}"
        )

    layout = packing.layout(_kept(example, extras), leading=2)
    first_layout = packing.layout(_named(example, first_extras), leading=2)

    def empty() -> ReplayState:
        firsts = (envs, length // stride, first_layout.words)
        return ReplayState(
            storage=jnp.zeros((envs, length, layout.words), packing.WORD),
            firsts=jnp.zeros(firsts, packing.WORD) if first_extras else (),
            cursor=jnp.zeros(envs, jnp.int32),
            size=jnp.zeros(envs, jnp.int32),
            priorities=priorities(envs, length),
            rollout_length=time,
            layout=layout,
            first_layout=first_layout,
        )

    size = size_in_bytes(jax.eval_shape(empty))
    check_memory("buffer_size", envs * length, size, devices=collectives.count())
    return empty()


def add(state: ReplayState, rollout: Transition) -> ReplayState:
    """Write a rollout [T, N, ...] over the oldest rows; UsageError if it is not like the first."""
    envs, length, _ = state.storage.shape
    # Environments are written in step: where the first is, they all are.
    cursor, time = state.cursor[0], state.rollout_length

    def check(path, row: jax.ShapeDtypeStruct, new: jax.Array) -> None:
        expected = (time, envs, *row.shape)
        if new.shape != expected or new.dtype != row.dtype:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UsageError(
                f"the rollout's {name} is {new.dtype}{list(new.shape)}, but this replay was "
                f"made for {row.dtype}{list(expected)}: add rollouts like the one init was given"
            )

    def written(storage: jax.Array, layout: Layout, new: Any, begin: jax.Array) -> jax.Array:
        rows = jnp.swapaxes(packing.pack(layout, new), 0, 1)
        # Rollouts divide a lap, so none is cut where the ring closes.
        return jax.lax.dynamic_update_slice_in_dim(storage, rows, begin, axis=1)

    row, of_first = state.layout.row, state.first_layout.row
    first, rollout = _named(rollout, tuple(of_first)), _kept(rollout, tuple(row.extras))
    jax.tree.map_with_path(check, row, rollout)
    jax.tree.map_with_path(check, of_first, first)
    firsts = state.firsts
    if of_first:
        stride = length // firsts.shape[1]
        begins = jax.tree.map(lambda x: x[::stride], first)
        firsts = written(firsts, state.first_layout, begins, cursor // stride)
    return replace(
        state,
        storage=written(state.storage, state.layout, rollout, cursor),
        firsts=firsts,
        cursor=(state.cursor + time) % length,
        size=jnp.minimum(state.size + time, length),
    )


def end_episodes(state: ReplayState, ended: jax.Array) -> ReplayState:
    """Mark the newest row of the environments where `ended` [N] as truncated, if there is one.

    For episodes that nobody goes on with: what is added next begins others. `next_obs` of that row
    is what was observed there, so its target bootstraps as that of any truncated step does.
    """
    newest = (state.cursor[0] - 1) % state.storage.shape[1]
    rows = state.storage[:, newest]
    last = packing.unpack(state.layout, rows)
    cut = ended & (state.size > 0) & ~last.terminated
    rows = packing.pack(state.layout, replace(last, truncated=last.truncated | cut))
    return replace(state, storage=state.storage.at[:, newest].set(rows))


def complete(state: ReplayState, position: jax.Array, window: int, stride: int = 1) -> jax.Array:
    """Whether a window may begin at `position`: its rows have been written, in order.

    Windows begin at rows whose number is a multiple of `stride`.
    """
    oldest = state.cursor[0] - state.size[0]
    age = (position - oldest) % state.storage.shape[1]
    return (age <= state.size[0] - window) & (position % stride == 0)


def read(
    state: ReplayState, env: jax.Array, position: jax.Array, window: int, weight: jax.Array
) -> Transition:
    """The windows [K, B] that begin at `position` [B], 0 or more, of `env` [B], annotated."""
    envs, length, words = state.storage.shape
    # Arithmetic between two reads keeps the processor from waiting for many at once: there is none
    # here for indices that are negative or too large.
    row = env * length + jax.lax.rem(position + jnp.arange(window)[:, None], length)
    rows = state.storage.reshape(envs * length, words)
    rows = rows.at[row].get(mode="promise_in_bounds", wrap_negative_indices=False)
    sample = packing.unpack(state.layout, rows)
    if state.first_layout.row:
        firsts = state.firsts[env, position % length // (length // state.firsts.shape[1])]
        sample = sample.annotate(**packing.unpack(state.first_layout, firsts[None]))
    return sample.annotate(row=row, weight=jnp.broadcast_to(weight, row.shape))


def _kept(rollout: Transition, extras: tuple[str, ...]) -> Transition:
    return replace(rollout, extras=Extras(_named(rollout, extras)))


def _named(rollout: Transition, extras: tuple[str, ...]) -> dict[str, Any]:
    return {name: rollout.extras[name] for name in extras}
