"""What all agents have in common: roll out, learn, repeat."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax import _cpu, collectives
from rljax.actors import random_policy
from rljax.actors.rollouts import episode_metrics, rollout, start
from rljax.agents.schedule import Schedule
from rljax.envs.action_masks import legal_actions
from rljax.envs.simulators import on_host, refuse_to_step
from rljax.errors import UsageError
from rljax.hparams import check_number
from rljax.networks import reset_carry
from rljax.replay import Replay
from rljax.replay import end_episodes as end_stored_episodes
from rljax.types import (
    Actor,
    Agent,
    Batch,
    Carry,
    Environment,
    Hparams,
    Key,
    Learner,
    Metrics,
    MissingField,
    Obs,
    Params,
    Parts,
    Policy,
    State,
    Transition,
    Update,
    UpdateState,
    Worker,
)
from rljax.updates.composition import chain, run
from rljax.updates.per_environment import check_shared, put_back, taken_out

UpdateAt = Callable[[Hparams, jax.Array], Update]
"""(hparams, progress) to an update, progress [] running from 0 to 1; called while tracing."""

Begin = Callable[[Hparams, Params, Worker, Key], tuple[Learner, Worker]]
"""From fresh parameters and environments to all that there is before the first iteration."""

Learn = Callable[[Hparams, jax.Array, Learner, Worker, Batch, Key], tuple[Learner, Worker, Metrics]]
"""From all that there is, progress and a rollout [T, N] to what is learnt from it."""

Contribute = Callable[[Hparams, jax.Array, Params, Batch, Key], tuple[Any, Metrics]]
"""From hyperparameters, progress, parameters and a rollout [T, N] to a contribution."""

Absorb = Callable[[Hparams, jax.Array, Learner, Any], tuple[Learner, Metrics]]
"""From hyperparameters, progress, what is learnt and a contribution to what is learnt then."""

Remember = Callable[[Hparams, Learner, Worker, Batch, Key], tuple[Learner, Worker]]
"""From all that there is and a rollout [T, N] of the warm-up to what is kept of it."""


def on_policy(
    env: Environment, *, actor: Actor, update: UpdateAt, hparams: Hparams, schedule: Schedule
) -> Agent:
    """Assemble an agent that learns from its own latest experience.

    Args:
        env: what it learns in.
        actor: acts, while learning and at its best.
        update: from hyperparameters and progress [] (0 to 1) to the update; called while tracing.
        hparams: the hyperparameters that `init` starts from if it is given no others.
        schedule: how long it trains, and in what portions.

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

    has_parts = update(hparams, jnp.float32(0)).parts is not None
    shared = (contribute, absorb) if has_parts else None
    return _assemble(env, actor, begin, learn, hparams, schedule, shared=shared)


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
    explorer = warmup or random_policy(env.action_space)

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

    return _assemble(env, actor, begin, learn, hparams, schedule, explorer, remember)


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


def _assemble(
    env: Environment,
    actor: Actor,
    begin: Begin,
    learn_from: Learn,
    default_hparams: Hparams,
    schedule: Schedule,
    explorer: Policy | None = None,
    remember_from: Remember | None = None,
    shared: tuple[Contribute, Absorb] | None = None,
) -> Agent:
    @_cpu.unrolled
    def init(key: Key, hparams: Hparams | None = None) -> State:
        hparams = checked(default_hparams if hparams is None else hparams)
        key, key_params, key_begin, key_env = jax.random.split(key, 4)
        params = actor.init(key_params)
        envs = collectives.share("num_envs", schedule.num_envs)
        worker = start(env, actor.initial_carry((envs,)), envs, collectives.fold_in(key_env))
        learner, worker = begin(hparams, params, worker, key_begin)
        return State(
            iteration=jnp.int32(0), key=key, hparams=hparams, learner=learner, worker=worker
        )

    def policy_of(state: State) -> Policy:
        return actor.policy(state.hparams, schedule.progress(state.iteration))

    def learn_with(state: State, batch: Batch, key: Key, next_key: Key) -> tuple[State, Metrics]:
        learner, worker, metrics = learn_from(
            state.hparams,
            schedule.progress(state.iteration),
            state.learner,
            state.worker,
            batch,
            key,
        )
        state = State(
            iteration=state.iteration + 1,
            key=next_key,
            hparams=state.hparams,
            learner=learner,
            worker=worker,
        )
        return state, {**input_metrics(batch), **metrics}

    @_cpu.unrolled
    def learn(state: State, batch: Batch) -> tuple[State, Metrics]:
        # The keys of `step`, so that both halves together are a step, whoever acts.
        next_key, _, key = jax.random.split(state.key, 3)
        return learn_with(state, batch, key, next_key)

    @_cpu.unrolled
    def step(state: State) -> tuple[State, Metrics]:
        next_key, key_rollout, key_learn = jax.random.split(state.key, 3)
        worker, batch = rollout(
            env,
            policy_of(state),
            lambda carry, done: reset_carry(actor, carry, done),
            state.learner.params,
            state.worker,
            collectives.fold_in(key_rollout),
            schedule.rollout_length,
        )
        state, metrics = learn_with(replace(state, worker=worker), batch, key_learn, next_key)
        return state, {**episode_metrics(batch), **metrics}

    def explore(state: State, obs: Obs, carry: Carry, key: Key):
        assert explorer is not None
        return explorer(state.learner.params, obs, carry, key)

    @_cpu.unrolled
    def remember(state: State, batch: Batch) -> State:
        assert remember_from is not None
        next_key, _, key = jax.random.split(state.key, 3)
        learner, worker = remember_from(state.hparams, state.learner, state.worker, batch, key)
        return replace(state, key=next_key, learner=learner, worker=worker)

    def end_episodes(state: State, ended: jax.Array) -> State:
        stored = end_stored_episodes(state.worker.replay, ended)
        return replace(state, worker=replace(state.worker, replay=stored))

    @_cpu.unrolled
    def contribute(state: State, batch: Batch, key: Key) -> tuple[Any, Metrics]:
        assert shared is not None
        progress = schedule.progress(state.iteration)
        contribution, metrics = shared[0](state.hparams, progress, state.learner.params, batch, key)
        return contribution, {**input_metrics(batch), **metrics}

    @_cpu.unrolled
    def absorb(state: State, contribution: Any) -> tuple[State, Metrics]:
        assert shared is not None
        progress = schedule.progress(state.iteration)
        learner, metrics = shared[1](state.hparams, progress, state.learner, contribution)
        next_key = jax.random.split(state.key, 3)[0]
        return replace(state, key=next_key, learner=learner), metrics

    def policy(state: State, obs: Obs, carry: Carry, key: Key):
        return policy_of(state)(state.learner.params, obs, carry, key)

    def act(state: State, obs: Obs, carry: Carry, key: Key | None):
        if key is None:
            return actor.mode(state.learner.params, obs, carry)
        action, _, carry = policy(state, obs, carry, key)
        return action, carry

    agent = Agent(
        env=env,
        hparams=default_hparams,
        init=init,
        step=step,
        policy=policy,
        learn=learn,
        act=act,
        initial_carry=actor.initial_carry,
        env_steps_per_iteration=schedule.env_steps_per_iteration,
        num_iterations=schedule.num_iterations,
        warmup_env_steps=schedule.warmup,
        explore=explore if explorer else None,
        remember=remember if remember_from else None,
        end_episodes=end_episodes if remember_from else None,
        contribute=contribute if shared else None,
        absorb=absorb if shared else None,
    )
    check_traces(agent)
    return agent._replace(step=refuse_to_step(env)) if on_host(env) else agent


def checked(hparams: Hparams) -> Hparams:
    """Hyperparameters as float32 scalars; raises UsageError for one of another shape."""
    hparams = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), hparams)
    for path, number in jax.tree_util.tree_leaves_with_path(hparams):
        if number.shape:
            raise UsageError(
                f"hparams{jax.tree_util.keystr(path)} has the shape {number.shape}, where an "
                "agent has one number; a population has one, or one for each of its members"
            )
    return hparams


def check_hparams(hparams: Hparams, kind: type, agent: str) -> Hparams:
    """`hparams`, or the defaults for None.

    Raises UsageError if they belong to another agent, or one of them cannot be what it is.
    """
    hparams = kind() if hparams is None else hparams
    if not isinstance(hparams, kind):
        raise UsageError(f"hparams must be {agent}'s Hparams, not a {type(hparams).__name__}")
    for name, number in vars(hparams).items():
        if not isinstance(number, jax.core.Tracer):
            check_number(hparams, name, np.ravel(number), f"{agent}: hparams.{name}")
    return hparams


def input_metrics(batch: Transition) -> Metrics:
    """How often an environment gave what nobody can use; anything but 0 stops training.

    That is numbers that are not finite, and masks in which no action is legal.
    """

    def bad(tree) -> jax.Array:
        leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
        return jnp.float32(sum(jnp.sum(~jnp.isfinite(x)) for x in leaves))

    metrics = {
        "nonfinite/obs": bad((batch.obs, batch.next_obs)),
        "nonfinite/reward": bad(batch.reward),
    }
    if (legal := legal_actions(batch.obs)) is not None:
        metrics["faults/no_legal_action"] = jnp.float32(jnp.sum(~jnp.any(legal, axis=-1)))
    return metrics


def check_traces(agent: Agent) -> None:
    """Trace one iteration, so that what does not fit together is said now and not in the run."""
    try:
        jax.eval_shape(lambda key: agent.step(agent.init(key)), jax.random.key(0))
    except MissingField as error:
        raise MissingField(f"{error}; put an update that writes it in front") from None
