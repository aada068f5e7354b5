"""Sums of priorities, so that one of millions is sampled, or changed, in a few steps.

A forest [N, M, F] holds a tree for each environment: M blocks of F numbers. Number i of a tree,
counted through its blocks, is the sum of its block i + 1; the last level is the leaves. Sums are
made anew from what they sum, never corrected, so that rounding errors do not pile up.

Source: Schaul et al. 2016, appendix B.2.1; blocks wider than two make it shallow.
"""

from itertools import accumulate

import jax
import jax.numpy as jnp

from rljax.errors import ceil_div
from rljax.types import Key

FAN_OUT = 4  # F, as measured: wider blocks take longer to add up than they save in levels.


def init(envs: int, leaves: int) -> jax.Array:
    """A forest in which every priority is 0."""
    depth = 1
    while FAN_OUT**depth < leaves:
        depth += 1
    return jnp.zeros((envs, ceil_div(_first_leaf(depth) + leaves, FAN_OUT), FAN_OUT))


def put(forest: jax.Array, env: jax.Array, leaf: jax.Array, priority: jax.Array) -> jax.Array:
    """Replace priorities of leaves, all of one shape; the largest counts where a leaf repeats."""
    depth = _depth(forest)
    block, place = divmod(_first_leaf(depth) + leaf, FAN_OUT)
    forest = forest.at[env, block, place].set(0.0, mode="promise_in_bounds")
    forest = forest.at[env, block, place].max(priority, mode="promise_in_bounds")

    def climb(_, carry):
        forest, block = carry
        sums = forest.at[env, block].get(mode="promise_in_bounds").sum(-1)
        block, place = divmod(block - 1, FAN_OUT)
        return forest.at[env, block, place].set(sums, mode="promise_in_bounds"), block

    return jax.lax.fori_loop(1, depth, climb, (forest, block))[0]


def total(forest: jax.Array) -> jax.Array:
    """The sum of all priorities; float32 []."""
    return forest[:, 0].sum()


def sample(forest: jax.Array, key: Key, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Environments, leaves and their priorities [count], with replacement; consumes the key.

    The sum of all priorities is cut into `count` equal strata, and one point sampled from each.
    Leaves of priority 0 are never sampled, whatever is rounded, unless there are no others.

    Source: Schaul et al. 2016, eq. 1 and appendix B.2.1.
    """
    depth = _depth(forest)
    roots = forest[:, 0].sum(-1)
    stratum = roots.sum() / count
    # A point is kept as the start of its stratum and the way from there: float32 has too few bits
    # for the sum of both to tell a million leaves apart.
    start = stratum * jnp.arange(count)
    way = stratum * jax.random.uniform(key, (count,))

    def passed(so_far: jax.Array, whole: jax.Array, start: jax.Array) -> jax.Array:
        """Whether the point lies beyond the sum so far; never beyond the last to add to it."""
        return (so_far - start <= way) & (so_far < whole)

    sums = jnp.cumsum(roots)[:, None]
    beyond = passed(sums, sums[-1], start)
    env, start = beyond.sum(0), start - jnp.max(jnp.where(beyond, sums, 0.0), 0)

    def descend(_, carry):
        block, start, _ = carry
        numbers = list(forest.at[env, block].get(mode="promise_in_bounds").T)
        sums = list(accumulate(numbers))
        place, begin, chosen = 0, start, numbers[0]
        # Written out, for speed: the numbers are few.
        for so_far, following in zip(sums, numbers[1:], strict=False):
            beyond = passed(so_far, sums[-1], start)
            place += beyond.astype(jnp.int32)
            begin = jnp.where(beyond, start - so_far, begin)
            chosen = jnp.where(beyond, following, chosen)
        return block * FAN_OUT + place + 1, begin, chosen

    block = jnp.zeros(count, jnp.int32)
    block, _, priority = jax.lax.fori_loop(0, depth, descend, (block, start, start))
    return env, block - 1 - _first_leaf(depth), priority


def _first_leaf(depth: int) -> int:
    """How many numbers there are above the leaves of a tree with so many levels."""
    return (FAN_OUT**depth - FAN_OUT) // (FAN_OUT - 1)


def _depth(forest: jax.Array) -> int:
    depth = 1
    while _first_leaf(depth + 1) < forest.shape[1] * FAN_OUT:
        depth += 1
    return depth
