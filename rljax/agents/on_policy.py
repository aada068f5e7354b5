"""What every on-policy algorithm has in common: roll out, update, repeat."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax.errors import UsageError, check_positive
from rljax.networks import ActorCritic, reset_carry
from rljax.rollout import episode_metrics, rollout, start
from rljax.types import (
    Agent,
    Environment,
    Hparams,
    Key,
    Learner,
    MissingField,
    State,
    Update,
)


def on_policy(
    env: Environment,
    actor_critic: ActorCritic,
    update: Callable[[Hparams], Update],
    default_hparams: Hparams,
    num_envs: int,
    rollout_length: int,
    total_env_steps: int,
) -> Agent:
    """Assemble an agent that learns from its own latest experience.

    Args:
        actor_critic: acts, while learning and at its best.
        update: from hyperparameters to the update; called while tracing, so they may be traced.
        default_hparams: what `init` starts from if it is given no others.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.

    Raises UsageError for counts below one, MissingField for an update whose input nobody writes.
    """
    check_positive(
        num_envs=num_envs, rollout_length=rollout_length, total_env_steps=total_env_steps
    )
    env_steps_per_iteration = num_envs * rollout_length
    network, policy = actor_critic.net, actor_critic.policy

    def init(key: Key, hparams: Hparams | None = None) -> State:
        hparams = default_hparams if hparams is None else hparams
        key, key_params, key_update, key_env = jax.random.split(key, 4)
        hparams = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), hparams)
        for path, number in jax.tree_util.tree_leaves_with_path(hparams):
            if number.shape:
                raise UsageError(
                    f"hparams{jax.tree_util.keystr(path)} has the shape {number.shape}, where an "
                    "agent has one number; a population has one, or one for each of its members"
                )
        params = network.init(key_params)
        return State(
            iteration=jnp.int32(0),
            key=key,
            hparams=hparams,
            learner=Learner(params, update(hparams).init(params, key_update)),
            worker=start(env, network.initial_carry((num_envs,)), num_envs, key_env),
        )

    def step(state: State):
        key, key_rollout, key_update = jax.random.split(state.key, 3)
        learner = state.learner
        worker, batch = rollout(
            env,
            policy,
            lambda carry, done: reset_carry(network, carry, done),
            learner.params,
            state.worker,
            key_rollout,
            rollout_length,
        )
        params, update_state, _, metrics = update(state.hparams).apply(
            learner.params, learner.update_state, batch, key_update
        )
        state = State(
            iteration=state.iteration + 1,
            key=key,
            hparams=state.hparams,
            learner=Learner(params, update_state),
            worker=worker,
        )
        return state, {**episode_metrics(batch), **input_metrics(batch), **metrics}

    def act(state: State, obs, carry, key: Key | None):
        if key is None:
            return actor_critic.mode(state.learner.params, obs, carry)
        action, _, carry = policy(state.learner.params, obs, carry, key)
        return action, carry

    agent = Agent(
        env=env,
        hparams=default_hparams,
        init=init,
        step=step,
        act=act,
        initial_carry=network.initial_carry,
        env_steps_per_iteration=env_steps_per_iteration,
        num_iterations=whole_iterations(total_env_steps, env_steps_per_iteration),
    )
    check_traces(agent)
    return agent


def whole_iterations(total_env_steps: int, env_steps_per_iteration: int) -> int:
    """The iterations that take at least `total_env_steps`."""
    return -(-total_env_steps // env_steps_per_iteration)


def input_metrics(batch) -> dict[str, jax.Array]:
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
