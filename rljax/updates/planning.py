"""Planning with tables: a model of the environment is learnt, and imagined steps are learnt from.

The model is the state of an update. Its counts are of the environments of all devices, so it is the
same on each of them.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rljax import collectives, ops
from rljax.envs.action_masks import legal_actions, observed
from rljax.errors import UsageError, check_count
from rljax.types import (
    Batch,
    Extras,
    Key,
    MaskedObs,
    Obs,
    Params,
    Transition,
    Update,
    UpdateState,
)
from rljax.updates.composition import run
from rljax.updates.tables import visited

MAX_COUNTS = 2**26
"""The most counts that a model may have: 256 MiB of float32."""

# GPUs multiply matrices in 19 bits unless asked not to, and counts have more.
_product = partial(jnp.matmul, precision="highest")


@struct.dataclass
class TableModel:
    """What has been seen of S states and A actions. The place behind all states is the end."""

    reward: jax.Array  # [S, A] float32, the mean reward of each action
    cumulative: jax.Array  # [S, A, S + 1] float32, how often it led to this place or one before it
    tried: jax.Array  # [S, A] int32, the time at which it was tried last; 0 for never
    legal: jax.Array  # [S, A] bool, the mask that was seen last; all, where there is none
    time: jax.Array  # [] int32, steps of each environment so far

    @property
    def visits(self) -> jax.Array:
        """How often each action was tried, float32 [S, A]."""
        return self.cumulative[..., -1]

    @property
    def outcomes(self) -> jax.Array:
        """How often it led to each state, and to the end, float32 [S, A, S + 1]."""
        return _differences(self.cumulative)


def dyna(update: Update, planning_steps: int, memory=1.0, kappa=None) -> Update:
    """Apply `update` to a rollout, then to steps that a model of the environment imagines.

    For each row of the rollout, `planning_steps` rows of N imagined steps follow, one after the
    other. A state is one that was visited, all equally likely; the action is one that was tried
    there. What follows is drawn by how often it has followed. The reward is the mean of that cell.

    Reads obs, action, reward, terminated and next_obs of fresh experience, and what `update`
    reads; writes what it writes. `update` is given imagined steps without extras.

    Args:
        update: of a table [S, A], such as `chain(n_step(gamma), td_target(q), table_step(lr))`.
        planning_steps: imagined steps for each real one.
        memory: what is left of the counts of a cell, and of its mean reward, when it is visited in
            a later update: with 1 the model is of all steps, with 0 of the latest. May be traced.
        kappa: of Dyna-Q+: imagined rewards are larger by kappa x sqrt(steps since the action was
            tried there), and actions that were never tried in a visited state are imagined, too:
            to stay there, for no reward. None for Dyna-Q. May be traced.

    Raises UsageError for a model of more than `MAX_COUNTS` counts.

    Source: Sutton and Barto 2018, sections 8.2 and 8.3.
    """
    check_count(planning_steps=planning_steps)

    def init(params: Params, key: Key) -> UpdateState:
        return _nothing_seen(params), update.init(params, key)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        model, inner = state
        key_real, key_imagine, key_plan = jax.random.split(key, 3)
        model = _having_seen(model, batch, memory)
        params, inner, after, metrics = run(update, params, inner, batch, key_real)
        length, envs = batch.reward.shape

        def learn(loop, drawn):
            params, inner, _, _ = run(update, *loop, *drawn)
            return (params, inner), None

        def plan(loop, keys):
            keys_imagine, keys = keys
            # All at once: what is imagined does not depend on what is learnt from it.
            imagined = _imagined(model, keys_imagine, kappa, batch.obs)
            return jax.lax.scan(learn, loop, (imagined, keys))

        keys = collectives.row_keys(key_imagine, length * planning_steps, envs)
        keys = keys.reshape(length, planning_steps, envs)
        more = jax.random.split(key_plan, (length, planning_steps))
        (params, inner), _ = jax.lax.scan(plan, (params, inner), (keys, more))
        return params, (model, inner), after, metrics

    return Update(init, apply)


def prioritized_sweeping(
    update: Update, gamma, planning_steps: int, threshold, memory=1.0
) -> Update:
    """Apply `update` to the cells whose values a model of the environment says are most wrong.

    The priority of a cell is the distance of its value from what the model expects,
    r + gamma max q. It is queued when the cell is visited, or when a cell that it leads to has
    changed; not below `threshold`. For each row of the rollout, the N cells of highest
    priority are taken out of the queue and changed, `planning_steps` times, one after the other.

    Reads obs, action, reward, terminated and next_obs of fresh experience. `update` is not given
    these, but for each cell all that may follow: S + 1 rows, with weight [S + 1, N], the counts.
    Metric `charts/swept_cells`, how many cells were changed, and `losses/td_error`.

    Args:
        update: as for `dyna`; its target is that of Q-learning, of one step.
        gamma: discount per step.
        planning_steps: changes for each real step.
        threshold: the least priority, 0 or more. May be traced.
        memory: as for `dyna`.

    Raises UsageError for a model of more than `MAX_COUNTS` counts.

    Source: Sutton and Barto 2018, section 8.4; Moore and Atkeson 1993,
    https://doi.org/10.1007/BF00993104.
    """
    check_count(planning_steps=planning_steps)

    def init(params: Params, key: Key) -> UpdateState:
        return _nothing_seen(params), jnp.zeros_like(params), update.init(params, key)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        model, priority, inner = state
        model = _having_seen(model, batch, memory)
        going_on, visits = model.outcomes[..., :-1], jnp.maximum(model.visits, 1.0)
        length, envs = batch.reward.shape
        number = min(envs * collectives.count(), params.size)

        def value(params: Params) -> jax.Array:
            return jnp.max(ops.only_legal(params, model.legal), axis=-1)

        def queued(priority: jax.Array, cells: jax.Array, error: jax.Array) -> jax.Array:
            """Priorities [S, A], with those of `cells` [S, A] raised to `error` [S, A]."""
            raised = jnp.where(cells & (error > threshold), error, 0.0)
            return jnp.maximum(priority, raised)

        target = model.reward + gamma * _product(going_on, value(params)) / visits
        error = jnp.abs(target - params)
        now = model.tried > model.time - length
        priority = queued(priority, now, error)

        def sweep(loop, key):
            params, inner, priority, target = loop
            highest, cells = jax.lax.top_k(priority.ravel(), number)
            state, action = jnp.divmod(cells, params.shape[1])
            found = highest > 0
            priority = priority.at[state, action].set(0.0)
            outcomes = _all_that_follows(model, state, action, found, batch.obs)
            after, inner, _, _ = run(update, params, inner, outcomes, key)
            # Only these states have another value now; one that is here twice counts once.
            leads = going_on[..., state] * found  # [S, A, number]
            share = jnp.zeros(len(params)).at[state].add(found)[state]
            change = (value(after) - value(params))[state] / jnp.maximum(share, 1.0)
            target = target + gamma * _product(leads, change) / visits
            error = jnp.abs(target - after)
            priority = queued(priority, jnp.any(leads > 0, axis=-1), error)
            return (after, inner, priority, target), jnp.sum(found)

        (params, inner, priority, _), swept = jax.lax.scan(
            sweep,
            (params, inner, priority, target),
            jax.random.split(key, planning_steps * length),
        )
        metrics = {
            "charts/swept_cells": jnp.sum(swept).astype(jnp.float32),
            "losses/td_error": jnp.mean(error[visited(batch)]),
        }
        return params, (model, priority, inner), batch, metrics

    return Update(init, apply)


def _nothing_seen(params: Params) -> TableModel:
    """The model of a table [S, A] before the first step."""
    states, actions = params.shape
    if states * actions * (states + 1) > MAX_COUNTS:
        raise UsageError(
            f"a model of {states} states and {actions} actions has {states} x {actions} x "
            f"{states + 1} = {states * actions * (states + 1):,} counts, more than {MAX_COUNTS:,}: "
            "use q_learning, or make fewer states"
        )
    return TableModel(
        reward=jnp.zeros(params.shape),
        cumulative=jnp.zeros((states, actions, states + 1)),
        tried=jnp.zeros(params.shape, jnp.int32),
        legal=jnp.ones(params.shape, bool),
        time=jnp.int32(0),
    )


def _having_seen(model: TableModel, batch: Batch, memory) -> TableModel:
    """The model once the rollouts [T, N] of all devices have been seen."""
    cell, (next_obs, terminated), reward, mask = collectives.environments(
        (
            visited(batch),
            (batch.next_obs, batch.terminated),
            batch.reward,
            legal_actions(batch.obs),
        )
    )
    follows = jnp.where(terminated, len(model.visits), observed(next_obs))
    reached = follows[..., None] <= jnp.arange(len(model.visits) + 1)
    # Written once for a cell, however often it is here.
    cumulative = model.cumulative.at[cell].set(memory * model.cumulative[cell])
    cumulative = cumulative.at[cell].add(reached.astype(jnp.float32))
    more = jnp.zeros_like(model.reward).at[cell].add(reward - model.reward[cell])
    time = model.time + 1 + jnp.arange(len(reward), dtype=jnp.int32)[:, None]
    legal = model.legal
    if mask is not None:
        legal = legal.at[cell[0]].set(mask)
        states = jnp.where(terminated, len(legal), next_obs.obs)  # Nobody acts at the end.
        legal = legal.at[states].set(next_obs.legal)
    return TableModel(
        reward=model.reward + more / jnp.maximum(cumulative[..., -1], 1.0),
        cumulative=cumulative,
        tried=model.tried.at[cell].max(jnp.broadcast_to(time, reward.shape)),
        legal=legal,
        time=time[-1, 0],
    )


def _imagined(model: TableModel, keys: Key, kappa, like: Obs) -> Batch:
    """Steps [K, 1, N] drawn with keys [K, N]; observations are of the kind of `like`."""
    visits = model.visits
    seen, tried = jnp.any(visits > 0, axis=-1), visits > 0 if kappa is None else model.legal
    states, actions = _places(seen), _places(tried)
    num_states, num_actions = jnp.sum(seen), jnp.sum(tried, axis=-1)

    def one(key: Key) -> tuple[jax.Array, ...]:
        # One draw for all three, and lists and sums that are there already.
        of_state, of_action, of_outcome = jax.random.uniform(key, (3,))
        state = states[(of_state * num_states).astype(jnp.int32)]
        action = actions[state, (of_action * num_actions[state]).astype(jnp.int32)]
        follows = ops.first_reached(
            lambda i: model.cumulative[state, action, i], len(states) + 1, of_outcome
        )
        return state, action, jnp.where(visits[state, action] > 0, follows, state)

    state, action, follows = jax.vmap(jax.vmap(one))(keys)
    reward = model.reward[state, action]
    if kappa is not None:
        since = (model.time - model.tried[state, action]).astype(jnp.float32)
        reward = reward + kappa * jnp.sqrt(since)
    state, action, reward, follows = (x[:, None] for x in (state, action, reward, follows))
    return _steps(model, state, action, reward, follows, like)


def _places(mask: jax.Array) -> jax.Array:
    """Where a mask [..., K] is true, in order, int32 [..., K]; 0 behind the last."""
    place = jnp.arange(mask.shape[-1], dtype=jnp.int32)
    rank = jnp.where(mask, jnp.cumsum(mask, axis=-1) - 1, len(place))

    def of_row(rank: jax.Array) -> jax.Array:
        return jnp.zeros_like(place).at[rank].set(place, mode="drop")

    return jnp.vectorize(of_row, signature="(k)->(k)")(rank)


def _all_that_follows(
    model: TableModel, state: jax.Array, action: jax.Array, found: jax.Array, like: Obs
) -> Batch:
    """All outcomes [S + 1, number] of cells, and their weights: 0 but where `found` [number]."""
    follows = jnp.arange(len(model.visits) + 1, dtype=jnp.int32)[:, None]
    weight = (_differences(model.cumulative[state, action]) * found[:, None]).T
    state, action, reward, follows = jnp.broadcast_arrays(
        state, action, model.reward[state, action], follows
    )
    return _steps(model, state, action, reward, follows, like).annotate(weight=weight)


def _steps(
    model: TableModel,
    state: jax.Array,
    action: jax.Array,
    reward: jax.Array,
    follows: jax.Array,
    like: Obs,
) -> Batch:
    """The batch of these steps [..., K, B]; `follows` is a state, or S for the end."""

    def seen(state: jax.Array) -> Obs:
        return MaskedObs(state, model.legal[state]) if isinstance(like, MaskedObs) else state

    last = len(model.visits) - 1
    return Transition(
        obs=seen(state),
        action=action,
        reward=reward,
        terminated=follows > last,
        truncated=jnp.zeros(reward.shape, bool),
        next_obs=seen(jnp.minimum(follows, last)),
        extras=Extras(),
    )


def _differences(cumulative: jax.Array) -> jax.Array:
    """What sums [..., S + 1] are the sums of; exact, as places that never followed add nothing."""
    return jnp.diff(cumulative, axis=-1, prepend=0.0)
