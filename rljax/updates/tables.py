"""Updates of tables: parameters [S, A] (or more), one number for each cell."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rljax import _cpu, collectives, ops
from rljax.envs.action_masks import legal_actions, observed
from rljax.types import Batch, Key, Params, Parts, Update, UpdateState
from rljax.updates.composition import in_parts, stateless

StepSize = Callable[[jax.Array, jax.Array], jax.Array]
"""(updates of each cell so far [S, A], of the table so far []) to learning rates that broadcast."""


def constant(lr) -> StepSize:
    """Always `lr`."""
    return lambda cell_updates, updates: jnp.asarray(lr)


def harmonic(lr, half_life) -> StepSize:
    """`lr / (1 + updates / half_life)`: halved after `half_life` updates, then on towards 0.

    Satisfies Robbins and Monro 1951, https://doi.org/10.1214/aoms/1177729586.
    """
    return lambda cell_updates, updates: lr / (1.0 + updates / half_life)


def visit_count(lr, exponent) -> StepSize:
    """`lr / (updates of the cell)^exponent`: with 1 and 1 every cell is the mean of its targets.

    Source: Even-Dar and Mansour 2003, section 3, https://jmlr.org/papers/v5/evendar03a.html.
    """
    return lambda cell_updates, updates: lr / jnp.maximum(cell_updates, 1.0) ** exponent


def visited(batch: Batch) -> tuple[Any, ...]:
    """The cell of each step: its state and action."""
    return observed(batch.obs), batch.action


def double_table_target() -> Update:
    """Annotate the batch for one of two tables [2, S, A], with values of the other one.

    For each step a coin chooses the table that learns. That table chooses the next action, and the
    other one gives its value. Reads reward, next_obs and discount (from `n_step`), of fresh
    experience or of a sample; writes table [T, N] int32, the one that learns, and target [T, N].

    Source: van Hasselt 2010, algorithm 1.
    """

    def apply(params: Params, batch: Batch, key: Key):
        table = jax.random.bernoulli(collectives.fold_in(key), shape=batch.reward.shape).astype(
            jnp.int32
        )
        cell = observed(batch.next_obs)
        values = ops.only_legal(params[table, cell], legal_actions(batch.next_obs))
        judged = params[1 - table, cell, jnp.argmax(values, axis=-1)]
        target = batch.reward + batch.extras["discount"] * judged
        return batch.annotate(table=table, target=target), {}

    return stateless(apply)


def visited_in_one_table(batch: Batch) -> tuple[Any, ...]:
    """The cell of each step, with `double_table_target`'s choice of table in front."""
    return batch.extras["table"], *visited(batch)


def table_step(step_size: StepSize, cell: Callable[[Batch], tuple[Any, ...]] = visited) -> Update:
    """Move each visited cell towards the mean target of its visits.

    Reads obs, action, target and, where something wrote it, weight (how much a visit counts, 0 for
    not at all), each [T, N], of fresh experience or of a sample; metric `losses/td_error`, the mean
    absolute difference.
    `cell` gives the index arrays of each step's cell. It is in parts: a contribution is how far
    each cell is from its targets, and which cells were visited, both [S, A].

    Source: Sutton and Barto 2018, eq. 6.8; the mean over parallel visits is what makes N
    environments a better estimate instead of a learning rate N times larger.
    """

    def contribute(params: Params, batch: Batch, key: Key):
        index = cell(batch)
        error = batch.extras["target"] - params[index]
        weight = batch.extras.get("weight", jnp.ones_like(error))
        sums = _cpu.sums_at(index, [weight * error, weight], params.shape)
        total, visits = collectives.psum(sums)
        mean = total / jnp.where(visits > 0, visits, 1.0)
        return _change(mean, visits > 0, error, batch)

    return in_parts(_no_updates_yet, Parts(contribute, _absorb(step_size)))


def trace_step(step_size: StepSize) -> Update:
    """Move all cells that were visited before each step, each by its eligibility trace.

    Reads obs, action, target [T, N] and trace [T, N, S, A] of fresh experience; metric as
    `table_step`.

    The errors that follow a visit of a cell, each times the trace by then, add up to the error of
    its lambda-return. A cell moves by the mean of those over its visits in the rollout, and over
    the traces that were still there when it began: by their sum, divided by their effective number
    (sum w)^2 / sum w^2, where w is 1 for a visit, and for an older trace what was left of it. So
    one trace moves a cell by error x trace, however many environments there are, and with traces
    that vanish at once this is `table_step`, for any T and N.

    Source: Watkins 1989; Sutton and Barto 2018, section 12.10; the effective number: Kish 1965,
    "Survey Sampling", section 8.2.
    """

    def contribute(params: Params, batch: Batch, key: Key):
        index, trace = visited(batch), batch.extras["trace"]
        error = batch.extras["target"] - params[index]
        visits = jnp.zeros_like(params).at[index].add(1.0)
        envs = jnp.arange(error.shape[1])
        older = trace[0].at[envs, index[0][0], batch.action[0]].set(0.0)  # [N, S, A]
        moved, weight, squares = collectives.psum(
            (
                jnp.einsum("tn,tnsa->sa", error, trace, precision="highest"),
                visits + jnp.sum(older, axis=0),
                visits + jnp.sum(jnp.square(older), axis=0),
            )
        )
        eligible = squares > 0
        number = jnp.square(weight) / jnp.where(eligible, squares, 1.0)
        distance = jnp.where(eligible, moved / jnp.maximum(number, 1.0), 0.0)
        return _change(distance, eligible, error, batch)

    return in_parts(_no_updates_yet, Parts(contribute, _absorb(step_size)))


def _no_updates_yet(params: Params, key: Key) -> UpdateState:
    """How often each cell was updated [S, A], and the table []."""
    return jnp.zeros_like(params), jnp.float32(0)


def _change(distance: jax.Array, moves: jax.Array, error: jax.Array, batch: Batch):
    """A contribution: how far each cell is from its targets, and which cells move, both [S, A]."""
    return (distance, moves), batch, {"losses/td_error": jnp.mean(jnp.abs(error))}


def _absorb(step_size: StepSize):
    def absorb(params: Params, state: UpdateState, change: tuple[jax.Array, jax.Array]):
        (cell_updates, updates), (distance, moves) = state, change
        state = (cell_updates + moves, updates + 1.0)
        return params + step_size(*state) * distance, state, {}

    return absorb
