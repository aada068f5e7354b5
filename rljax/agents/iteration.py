"""An agent from its parts: how one iteration goes, whoever acts and however it learns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from rljax import _cpu, collectives
from rljax.actors.rollouts import episode_metrics, rollout, start
from rljax.agents.schedule import Schedule
from rljax.envs.action_masks import legal_actions
from rljax.envs.simulators import on_host, refuse_to_step
from rljax.errors import UsageError
from rljax.networks import reset_carry
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
    Policy,
    State,
    Transition,
    Worker,
)

EnvironmentAt = Callable[[Hparams, jax.Array, Params], Environment]
"""From hyperparameters, progress and parameters to where an agent acts."""

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


def assembled(
    env: Environment,
    actor: Actor,
    begin: Begin,
    learn_from: Learn,
    default_hparams: Hparams,
    schedule: Schedule,
    explorer: Policy | None = None,
    remember_from: Remember | None = None,
    shared: tuple[Contribute, Absorb] | None = None,
    acts_in: EnvironmentAt | None = None,
) -> Agent:
    """An agent of these parts; `on_policy` and `off_policy` are how it gets them."""
    acting_env = acts_in or (lambda hparams, progress, params: env)

    @_cpu.unrolled
    def init(key: Key, hparams: Hparams | None = None) -> State:
        hparams = checked(default_hparams if hparams is None else hparams)
        key, key_params, key_begin, key_env = jax.random.split(key, 4)
        params = actor.init(key_params)
        envs = collectives.share("num_envs", schedule.num_envs)
        worker = start(
            acting_env(hparams, jnp.float32(0), params),
            actor.initial_carry((envs,)),
            envs,
            collectives.fold_in(key_env),
        )
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
        progress = schedule.progress(state.iteration)
        worker, batch = rollout(
            acting_env(state.hparams, progress, state.learner.params),
            actor.policy(state.hparams, progress),
            lambda carry, done: reset_carry(actor, carry, done),
            state.learner.params,
            state.worker,
            collectives.fold_in(key_rollout),
            schedule.rollout_length,
        )
        state, metrics = learn_with(replace(state, worker=worker), batch, key_learn, next_key)
        return state, {**episode_metrics(env, batch), **metrics}

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
            return actor.mode(state.hparams)(state.learner.params, obs, carry)
        action, _, carry = policy(state, obs, carry, key)
        return action, carry

    def distribution(state: State, obs: Obs, carry: Carry):
        assert actor.distribution is not None
        return actor.distribution(state.learner.params, obs, carry)

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
        distribution=distribution if actor.distribution else None,
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
