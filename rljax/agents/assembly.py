"""What all agents have in common: roll out, learn, repeat."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from rljax import devices
from rljax.envs import spaces
from rljax.errors import UsageError, check_positive
from rljax.hparams import check_number
from rljax.networks import reset_carry
from rljax.replay import Replay
from rljax.rollout import episode_metrics, rollout, start
from rljax.types import (
    Actor,
    Agent,
    Batch,
    Environment,
    Hparams,
    Key,
    Learner,
    Metrics,
    MissingField,
    State,
    Transition,
    Update,
    Worker,
)

Learn = Callable[[Hparams, jax.Array, Learner, Worker, Batch, Key], tuple[Learner, Worker, Metrics]]


def on_policy(
    env: Environment,
    actor: Actor,
    update: Callable[[Hparams, jax.Array], Update],
    default_hparams: Hparams,
    num_envs: int,
    rollout_length: int,
    total_env_steps: int,
) -> Agent:
    """Assemble an agent that learns from its own latest experience.

    Args:
        actor: acts, while learning and at its best.
        update: from hyperparameters and progress [] (0 to 1) to the update; called while tracing.
        default_hparams: what `init` starts from if it is given no others.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.

    Raises UsageError for counts below one, MissingField for an update whose input nobody writes.
    """

    def learn(hparams, progress, learner: Learner, worker: Worker, batch: Batch, key: Key):
        params, update_state, _, metrics = update(hparams, progress).apply(
            learner.params, learner.update_state, batch, key
        )
        return Learner(params, update_state), worker, metrics

    return _assemble(
        env, actor, update, learn, default_hparams, num_envs, rollout_length, total_env_steps
    )


def off_policy(
    env: Environment,
    actor: Actor,
    update: Callable[[Hparams, jax.Array], Update],
    replay: Callable[[Hparams, jax.Array], Replay],
    default_hparams: Hparams,
    num_envs: int,
    rollout_length: int,
    total_env_steps: int,
    updates_per_iteration: int,
    warmup_env_steps: int,
) -> Agent:
    """Assemble an agent that learns from samples of all it remembers.

    Args:
        actor, update, default_hparams, num_envs, rollout_length: as for `on_policy`; the update
            is given samples, and may write `priority` for a replay that asks for it.
        replay: from hyperparameters and progress [] (0 to 1) to the memory of experience.
        total_env_steps: how long to train, warm-up included; rounded up to whole iterations.
        updates_per_iteration: updates after each rollout, a fresh sample for each.
        warmup_env_steps: steps taken at random by `init`, over all environments; rounded up to
            whole rollouts.

    Raises UsageError for counts that do not fit, MissingField as `on_policy` does.
    """
    check_positive(updates_per_iteration=updates_per_iteration, warmup_env_steps=warmup_env_steps)

    def warm_up(hparams: Hparams, worker: Worker, key: Key) -> Worker:
        keys = jax.random.split(key, whole(warmup_env_steps, num_envs * rollout_length))
        begin = jnp.float32(0)

        def explore(worker: Worker, key: Key) -> tuple[Worker, Transition]:
            policy = random_policy(env.action_space)
            # The carry of a policy that is not acting yet stays as an episode finds it.
            return rollout(env, policy, lambda c, done: c, (), worker, key, rollout_length)

        def remember(worker: Worker, key: Key):
            worker, batch = explore(worker, key)
            memory = replay(hparams, begin).add(worker.replay, batch)
            return replace(worker, replay=memory), None

        example = jax.eval_shape(explore, worker, keys[0])[1]
        worker = replace(worker, replay=replay(hparams, begin).init(example))
        return jax.lax.scan(remember, worker, keys)[0]

    def learn(hparams, progress, learner: Learner, worker: Worker, batch: Batch, key: Key):
        memory = replay(hparams, progress)

        def one(loop, keys: Key):
            learner, remembered = loop
            key_sample, key_update = keys
            sample = memory.sample(remembered, devices.own(key_sample))
            params, update_state, sample, metrics = update(hparams, progress).apply(
                learner.params, learner.update_state, sample, key_update
            )
            remembered = memory.prioritize(remembered, sample)
            return (Learner(params, update_state), remembered), metrics

        (learner, remembered), metrics = jax.lax.scan(
            one,
            (learner, memory.add(worker.replay, batch)),
            jax.random.split(key, (updates_per_iteration, 2)),
        )
        return learner, replace(worker, replay=remembered), jax.tree.map(jnp.mean, metrics)

    return _assemble(
        env,
        actor,
        update,
        learn,
        default_hparams,
        num_envs,
        rollout_length,
        total_env_steps,
        warm_up,
        whole(warmup_env_steps, num_envs * rollout_length) * num_envs * rollout_length,
    )


def _assemble(
    env: Environment,
    actor: Actor,
    update: Callable[[Hparams, jax.Array], Update],
    learn: Learn,
    default_hparams: Hparams,
    num_envs: int,
    rollout_length: int,
    total_env_steps: int,
    warm_up: Callable[[Hparams, Worker, Key], Worker] | None = None,
    warmup_env_steps: int = 0,
) -> Agent:
    check_positive(
        num_envs=num_envs, rollout_length=rollout_length, total_env_steps=total_env_steps
    )
    if warmup_env_steps >= total_env_steps:
        raise UsageError(
            f"warm-up takes {warmup_env_steps} environment steps, which leaves none of "
            f"total_env_steps = {total_env_steps} to learn in: make warmup_env_steps smaller"
        )
    env_steps_per_iteration = num_envs * rollout_length
    num_iterations = whole(total_env_steps - warmup_env_steps, env_steps_per_iteration)

    def init(key: Key, hparams: Hparams | None = None) -> State:
        hparams = checked(default_hparams if hparams is None else hparams)
        key, key_params, key_update, key_env = jax.random.split(key, 4)
        params = actor.init(key_params)
        envs = devices.share("num_envs", num_envs)
        worker = start(env, actor.initial_carry((envs,)), envs, devices.own(key_env))
        if warm_up is not None:
            key, key_warm_up = jax.random.split(key)
            worker = warm_up(hparams, worker, devices.own(key_warm_up))
        return State(
            iteration=jnp.int32(0),
            key=key,
            hparams=hparams,
            learner=Learner(params, update(hparams, jnp.float32(0)).init(params, key_update)),
            worker=worker,
        )

    def progress(state: State) -> jax.Array:
        done = warmup_env_steps + state.iteration.astype(jnp.float32) * env_steps_per_iteration
        return done / total_env_steps

    def step(state: State) -> tuple[State, Metrics]:
        key, key_rollout, key_learn = jax.random.split(state.key, 3)
        worker, batch = rollout(
            env,
            actor.policy(state.hparams, progress(state)),
            lambda carry, done: reset_carry(actor, carry, done),
            state.learner.params,
            state.worker,
            devices.own(key_rollout),
            rollout_length,
        )
        learner, worker, metrics = learn(
            state.hparams, progress(state), state.learner, worker, batch, key_learn
        )
        state = State(
            iteration=state.iteration + 1,
            key=key,
            hparams=state.hparams,
            learner=learner,
            worker=worker,
        )
        return state, {**episode_metrics(batch), **input_metrics(batch), **metrics}

    def act(state: State, obs, carry, key: Key | None):
        if key is None:
            return actor.mode(state.learner.params, obs, carry)
        policy = actor.policy(state.hparams, progress(state))
        action, _, carry = policy(state.learner.params, obs, carry, key)
        return action, carry

    agent = Agent(
        env=env,
        hparams=default_hparams,
        init=init,
        step=step,
        act=act,
        initial_carry=actor.initial_carry,
        env_steps_per_iteration=env_steps_per_iteration,
        num_iterations=num_iterations,
        warmup_env_steps=warmup_env_steps,
    )
    check_traces(agent)
    return agent


def whole(count: int, size: int) -> int:
    """How many parts of `size` hold at least `count`."""
    return -(-count // size)


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
            check_number(name, np.ravel(number), f"{agent}: hparams.{name}")
    return hparams


def random_policy(space: spaces.Space):
    """Actions drawn uniformly, whatever is observed."""
    assert isinstance(space, spaces.Discrete), "agents with a replay refuse other spaces"

    def policy(params, obs, carry, key: Key):
        leading = jax.tree.leaves(obs)[0].shape[:1]
        return jax.random.randint(key, leading, 0, space.n), {}, carry

    return policy


def input_metrics(batch: Transition) -> Metrics:
    """How many numbers an environment gave that are not finite; anything but 0 stops training."""

    def bad(tree) -> jax.Array:
        leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
        return jnp.float32(sum(jnp.sum(~jnp.isfinite(x)) for x in leaves))

    return {
        "nonfinite/obs": bad((batch.obs, batch.next_obs)),
        "nonfinite/reward": bad(batch.reward),
    }


def check_traces(agent: Agent) -> None:
    """Trace one iteration, so that what does not fit together is said now and not in the run."""
    try:
        jax.eval_shape(lambda key: agent.step(agent.init(key)), jax.random.key(0))
    except MissingField as error:
        raise MissingField(f"{error}; put an update that writes it in front") from None
