"""What all agents have in common: roll out, learn, repeat."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax import collectives
from rljax.actors import random_policy
from rljax.actors.rollouts import rollout
from rljax.agents.iteration import EnvironmentAt, assembled
from rljax.agents.schedule import Schedule
from rljax.envs.agents import joint_space
from rljax.envs.simulators import on_host
from rljax.errors import UsageError
from rljax.hparams import check_number
from rljax.networks import reset_carry
from rljax.replay import Replay
from rljax.types import (
    Actor,
    Agent,
    Batch,
    Environment,
    Hparams,
    Key,
    Learner,
    Metrics,
    Params,
    Parts,
    Policy,
    Update,
    UpdateState,
    Worker,
)
from rljax.updates.composition import chain, run
from rljax.updates.per_environment import check_shared, put_back, taken_out

UpdateAt = Callable[[Hparams, jax.Array], Update]
"""(hparams, progress) to an update, progress [] running from 0 to 1; called while tracing."""


def on_policy(
    env: Environment,
    *,
    actor: Actor,
    update: UpdateAt,
    hparams: Hparams,
    schedule: Schedule,
    acts_in: EnvironmentAt | None = None,
) -> Agent:
    """Assemble an agent that learns from its own latest experience.

    Args:
        env: what it is evaluated in, and learns in but for `acts_in`.
        actor: acts, while learning and at its best.
        update: from hyperparameters and progress [] (0 to 1) to the update; called while tracing.
        hparams: the hyperparameters that `init` starts from if it is given no others.
        schedule: how long it trains, and in what portions.
        acts_in: where it acts instead, from hyperparameters, progress [] and parameters: a game
            against itself, say. Its spaces are those of `env`.

    If the update is in parts, so is the learning of the agent.

    Raises MissingField for an update whose input nobody writes.
    """

    def begin(hparams: Hparams, params: Params, worker: Worker, key: Key):
        state, worker = fresh_state(update(hparams, jnp.float32(0)), params, worker, key)
        return Learner(params, state), worker

    def learn(hparams, progress, learner: Learner, worker: Worker, batch: Batch, key: Key):
        params, state, worker, _, metrics = see(
            update(hparams, progress), learner.params, learner.update_state, worker, batch, key
        )
        return Learner(params, state), worker, metrics

    def parts(hparams: Hparams, progress) -> Parts:
        found = update(hparams, progress).parts
        assert found is not None
        return found

    def contribute(hparams, progress, params: Params, batch: Batch, key: Key):
        contribution, _, metrics = parts(hparams, progress).contribute(params, batch, key)
        return contribution, metrics

    def absorb(hparams, progress, learner: Learner, contribution: Any):
        params, state, metrics = parts(hparams, progress).absorb(
            learner.params, learner.update_state, contribution
        )
        return Learner(params, state), metrics

    shared = (contribute, absorb) if _has_parts(update, hparams) else None
    return assembled(env, actor, begin, learn, hparams, schedule, shared=shared, acts_in=acts_in)


def _has_parts(update: UpdateAt, hparams: Hparams) -> bool:
    """Whether the update is in parts; asked while tracing, so that nothing is computed."""
    found = []
    jax.eval_shape(lambda: found.append(update(hparams, jnp.float32(0)).parts))
    return found[0] is not None


def off_policy(
    env: Environment,
    *,
    actor: Actor,
    update: UpdateAt,
    replay: Callable[[Hparams, jax.Array], Replay],
    hparams: Hparams,
    schedule: Schedule,
    fresh: UpdateAt = lambda hparams, progress: chain(),
    warmup: Policy | None = None,
) -> Agent:
    """Assemble an agent that learns from samples of a replay buffer.

    Args:
        env, actor, hparams, schedule: as for `on_policy`.
        update: as there, but it is given samples, and may write `priority` for a replay that asks
            for it.
        replay: from hyperparameters and progress [] (0 to 1) to the replay buffer.
        fresh: an update that is given every rollout [T, N] once, those of the warm-up included,
            before it is added to the replay buffer. What it returns is added: the fields of a step,
            and of the extras those that `replay` names.
        warmup: who acts in the warm-up; by default `actors.random_policy`, which records log_prob,
            and leaves the carry as an episode begins with it.

    Raises UsageError for counts that do not fit, and MissingField as `on_policy` does, also for a
    replay or a fresh update that reads what `warmup` does not record.
    """
    explorer = warmup or random_policy(joint_space(env, env.action_space))

    def begin(hparams: Hparams, params: Params, worker: Worker, key: Key):
        key_fresh, key_warm_up, key_update = jax.random.split(key, 3)
        at_start = jnp.float32(0)
        buffer, seeing = replay(hparams, at_start), fresh(hparams, at_start)
        state, worker = fresh_state(seeing, params, worker, key_fresh)

        def explore(learner: Learner, worker: Worker, key: Key):
            key_rollout, key_see = jax.random.split(key)
            worker, batch = rollout(
                env,
                explorer,
                lambda carry, done: reset_carry(actor, carry, done),
                learner.params,
                worker,
                collectives.fold_in(key_rollout),
                schedule.rollout_length,
            )
            return look(hparams, at_start, learner, worker, batch, key_see)

        def fill(loop, key: Key):
            learner, worker = loop
            learner, worker, batch, _ = explore(learner, worker, key)
            worker = replace(worker, replay=buffer.add(worker.replay, batch))
            return (learner, worker), None

        learner = Learner(params, (state, ()))
        keys = jax.random.split(key_warm_up, schedule.warmup_rollouts)
        example = jax.eval_shape(explore, learner, worker, keys[0])[2]
        worker = replace(worker, replay=buffer.init(example))
        if not on_host(env):  # Actors bring what `remember` adds.
            (learner, worker), _ = jax.lax.scan(fill, (learner, worker), keys)
        params, (state, _) = learner.params, learner.update_state
        of_samples = update(hparams, at_start).init(params, key_update)
        check_shared(of_samples, "samples of a replay buffer")
        return Learner(params, (state, of_samples)), worker

    def look(hparams, progress, learner: Learner, worker: Worker, batch: Batch, key: Key):
        """What `fresh` makes of a rollout."""
        state, of_samples = learner.update_state
        params, state, worker, batch, metrics = see(
            fresh(hparams, progress), learner.params, state, worker, batch, key
        )
        return Learner(params, (state, of_samples)), worker, batch, metrics

    def remember(hparams: Hparams, learner: Learner, worker: Worker, batch: Batch, key: Key):
        at_start = jnp.float32(0)
        learner, worker, batch, _ = look(hparams, at_start, learner, worker, batch, key)
        stored = replay(hparams, at_start).add(worker.replay, batch)
        return learner, replace(worker, replay=stored)

    def learn(hparams, progress, learner: Learner, worker: Worker, batch: Batch, key: Key):
        key_see, key = jax.random.split(key)
        learner, worker, batch, seen = look(hparams, progress, learner, worker, batch, key_see)
        state, of_samples = learner.update_state
        buffer = replay(hparams, progress)

        def one(loop, keys: Key):
            params, of_samples, stored = loop
            key_sample, key_update = keys
            sample = buffer.sample(stored, collectives.fold_in(key_sample))
            params, of_samples, sample, metrics = update(hparams, progress).apply(
                params, of_samples, sample, key_update
            )
            return (params, of_samples, buffer.prioritize(stored, sample)), metrics

        (params, of_samples, stored), metrics = jax.lax.scan(
            one,
            (learner.params, of_samples, buffer.add(worker.replay, batch)),
            jax.random.split(key, (schedule.updates_per_iteration, 2)),
        )
        learner = Learner(params, (state, of_samples))
        return (
            learner,
            replace(worker, replay=stored),
            {**seen, **jax.tree.map(jnp.mean, metrics)},
        )

    return assembled(env, actor, begin, learn, hparams, schedule, explorer, remember)


def fresh_state(
    update: Update, params: Params, worker: Worker, key: Key
) -> tuple[UpdateState, Worker]:
    """The state of an update of fresh experience: what all devices share, and the worker's part.

    What `update.init` gives for one environment, every environment of the worker begins with: each
    leaf [...] becomes [N, ...].
    """
    state, of_one = taken_out(update.init(params, key))
    num_envs = worker.episode_length.shape

    def of_all(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x, num_envs + jnp.shape(x))

    return state, replace(worker, update_state=jax.tree.map(of_all, of_one))


def see(
    update: Update, params: Params, state: UpdateState, worker: Worker, batch: Batch, key: Key
) -> tuple[Params, UpdateState, Worker, Batch, Metrics]:
    """Apply an update to a rollout [T, N]; its state is in two parts, as `fresh_state` gives."""
    state = put_back(state, worker.update_state)
    params, state, batch, metrics = run(update, params, state, batch, key)
    state, of_environments = taken_out(state)
    return params, state, replace(worker, update_state=of_environments), batch, metrics


def check_hparams(hparams: Hparams, kind: type, agent: str) -> Hparams:
    """`hparams`, or the defaults for None.

    Raises UsageError if they belong to another agent, or one of them cannot be what it is.
    """
    hparams = kind() if hparams is None else hparams
    if not isinstance(hparams, kind):
        raise UsageError(f"hparams must be {agent}'s Hparams, not a {type(hparams).__name__}")
    for name, number in vars(hparams).items():
        if not isinstance(number, jax.core.Tracer):
            check_number(hparams, name, np.ravel(number).tolist(), f"{agent}: hparams.{name}")
    return hparams
