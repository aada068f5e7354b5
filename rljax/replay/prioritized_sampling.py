"""Experience sampled by the size of its last error.

Source: Schaul et al. 2016, https://arxiv.org/abs/1511.05952.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rljax import collectives
from rljax.errors import check_at_most, check_positive
from rljax.replay import ring, sum_tree
from rljax.replay.ring import Replay, ReplayState
from rljax.types import Key, Transition


@struct.dataclass
class Priorities:
    """How likely each window is to be sampled: leaf l is that of the window beginning at row l."""

    forest: jax.Array  # [N, M, F] float32, see `sum_tree`; 0 where a window is not complete
    largest: jax.Array  # [N] float32, the largest that `prioritize` was told
    latest: Any  # [N, K] float32, of the last rows, whose windows wait for more; () for none


def prioritized(
    buffer_size: int,
    batch_size: int,
    window: int = 1,
    *,
    alpha: float | jax.Array,
    beta: float | jax.Array,
    epsilon: float = 1e-6,
    stride: int = 1,
    learnt: tuple[int, int] = (0, 1),
    eta: float | jax.Array = 0.9,
    extras: tuple[str, ...] = (),
    first_extras: tuple[str, ...] = (),
) -> Replay:
    """A replay buffer in which windows are as likely as their priority is large.

    The priority of a window is that of its rows that are learnt from, as `window_priority` mixes
    them.

    A window is sampled with P(i) = p_i / sum_j p_j, p = (|priority| + epsilon)^alpha, stratified.
    Until `prioritize` says otherwise it has the priority of its rows where rollouts bring one, as
    an extra `priority` [T, N]; where they do not, the largest p so far (at first 1). Samples are
    weighted by (number of windows * P(i))^-beta, divided by the largest weight of the sample.

    `prioritize` takes the larger priority where a window was sampled twice, and passes over windows
    that new rows have broken since.

    Args:
        buffer_size: steps to store, over all environments; rounded up so that each environment
            gets the same number of whole rollouts.
        batch_size: windows B in a sample.
        window: consecutive steps K in each.
        alpha: how much priorities count: 0 not at all, 1 in proportion. May be traced.
        beta: how much of the bias by priorities the weights undo: 1 for all. May be traced.
        epsilon: added to priorities, so that none is 0.
        stride: rows from the beginning of a window to that of the next; it divides rollouts.
        learnt: the rows of a window that are learnt from: the first of them, and how many.
        eta: what the largest of their priorities counts, from 0 to 1; their mean counts the rest.
            May be traced.
        extras: names of the extras to store besides the fields of a step.
        first_extras: names of those to store of the rows that begin windows alone.

    Raises UsageError for counts that do not fit; `init` does if there is too little device memory.

    Source: Schaul et al. 2016, eq. 1, sections 3.3 and 3.4, appendix B.2.1; priorities of new rows:
    Horgan et al. 2018, section 3, https://arxiv.org/abs/1803.00933.
    """
    check_positive(buffer_size=buffer_size, batch_size=batch_size, window=window, stride=stride)
    check_at_most("batch_size", batch_size, "buffer_size", buffer_size)
    begin, count = learnt
    check_at_most("the last row of a window that is learnt", begin + count, "window", window)

    def init(example: Transition) -> ReplayState:
        brought = "priority" in example.extras

        def priorities(envs: int, length: int) -> Priorities:
            # One more than windows wait for, because a checkpoint has no empty arrays.
            latest = jnp.zeros((envs, window)) if brought else ()
            return Priorities(sum_tree.init(envs, length), jnp.ones(envs), latest)

        return ring.init(example, buffer_size, window, extras, stride, first_extras, priorities)

    def exponentiated(priority: jax.Array) -> jax.Array:
        return (priority + epsilon) ** alpha

    def add(state: ReplayState, rollout: Transition) -> ReplayState:
        state = ring.add(state, rollout)
        envs, length, _ = state.storage.shape
        # Windows that new rows complete, and those that begin at a new row but wait for more,
        # counted from the end of the new rows: there a stride is complete.
        most = min(window - 1 + state.rollout_length, length) // stride
        behind = np.arange(-most, 0) * stride
        position = (jnp.asarray(behind, jnp.int32) + state.cursor[0]) % length
        complete = ring.complete(state, position, window, stride)
        env, position, complete = jnp.broadcast_arrays(
            jnp.arange(envs)[:, None], position, complete
        )
        priorities = state.priorities
        priority, latest = priorities.largest[:, None], priorities.latest
        if not isinstance(latest, tuple):
            known = jnp.concatenate([latest, jnp.abs(rollout.extras["priority"]).T], axis=1)
            rows = known.shape[1] + behind + begin + np.arange(count)[:, None]
            # Of a window that waits for more, any row stands for those that are not there.
            of_rows = known.T[np.minimum(rows, known.shape[1] - 1)]
            priority = exponentiated(jnp.swapaxes(window_priority(of_rows, eta), 0, 1))
            latest = known[:, -window:]
        priority = jnp.where(complete, priority, 0.0)
        forest = sum_tree.put(priorities.forest, env, position, priority)
        return replace(state, priorities=replace(priorities, forest=forest, latest=latest))

    def sample(state: ReplayState, key: Key) -> Transition:
        forest, count = state.priorities.forest, collectives.share("batch_size", batch_size)
        env, position, priority = sum_tree.sample(forest, key, count)
        # Each device samples what it stores itself: that decides how likely a window was.
        probability = priority / sum_tree.total(forest)
        # Dividing by the largest weight leaves nothing of the number of windows.
        weight = (collectives.pmin(jnp.min(probability)) / probability) ** beta
        return ring.read(state, env, position, window, weight)

    def prioritize(state: ReplayState, batch: Transition) -> ReplayState:
        forest, largest = state.priorities.forest, state.priorities.largest
        length = state.storage.shape[1]
        env, position = divmod(batch.extras["row"][0], length)
        position = (position - begin) % length
        priority = exponentiated(window_priority(jnp.abs(batch.extras["priority"][:count]), eta))
        priority = jnp.where(ring.complete(state, position, window, stride), priority, 0.0)
        forest = sum_tree.put(forest, env, position, priority)
        largest = jnp.maximum(largest, jnp.max(priority))
        return replace(state, priorities=replace(state.priorities, forest=forest, largest=largest))

    return Replay(init=init, add=add, sample=sample, prioritize=prioritize)


def window_priority(priority: jax.Array, eta) -> jax.Array:
    """eta x the largest + (1 - eta) x the mean of priorities [M, ...] of M rows; [...].

    Source: Kapturowski et al. 2019, section 2.3, https://openreview.net/forum?id=r1lyTjAqYX.
    """
    mean = jnp.mean(priority, axis=0)
    # Of one row it is the priority of the row, to the bit.
    return mean + eta * (jnp.max(priority, axis=0) - mean)
