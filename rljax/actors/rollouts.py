"""The only place that steps an environment for learning."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from rljax import _cpu, collectives
from rljax.envs import autoreset
from rljax.envs.agents import agent_axis, joint_return
from rljax.types import (
    Carry,
    Environment,
    Extras,
    Key,
    Params,
    Policy,
    Transition,
    Worker,
)


def start(env: Environment, carry: Carry, num_envs: int, key: Key) -> Worker:
    """A worker at the start of `num_envs` episodes, with the carry [N, ...]; consumes the key.

    Returns are [N], or [N, M] where an environment has M agents, each with a reward.
    """
    env_state, obs = jax.vmap(lambda k: autoreset.reset(env, k))(jax.random.split(key, num_envs))
    return Worker(
        env_state=env_state,
        # Apart from a state that holds it too: one buffer cannot be donated twice.
        obs=jax.tree.map(jnp.copy, obs),
        carry=carry,
        replay=(),
        update_state=[],
        episode_return=jnp.zeros((num_envs, *agent_axis(env)), jnp.float32),
        episode_length=jnp.zeros(num_envs, jnp.int32),
    )


def rollout(
    env: Environment,
    policy: Policy,
    reset_carry: Callable[[Carry, jax.Array], Carry],
    params: Params,
    worker: Worker,
    key: Key,
    length: int,
) -> tuple[Worker, Transition]:
    """Step N environments `length` times under one set of parameters; consumes the key.

    Args:
        reset_carry: `(carry, done [N]) -> carry`, in which those of finished episodes begin again.

    Returns the worker to go on from, and a transition [T, N, ...] whose extras hold what the
    policy recorded, the carry *before* each step, and the return and length of each episode so
    far (an episode's totals where `done`).
    """
    num_envs = worker.episode_length.shape[0]
    key_act, key_env = jax.random.split(key)
    keys_act = jax.random.split(key_act, length)
    keys_env = jax.random.split(key_env, (length, num_envs))
    step_all = jax.vmap(lambda k, state, action: autoreset.autoreset(env, k, state, action))

    def step(worker: Worker, keys):
        key_act, keys_env = keys
        action, extras, carry = policy(params, worker.obs, worker.carry, key_act)
        env_state, obs, reward, terminated, truncated, next_obs = step_all(
            keys_env, worker.env_state, action
        )
        done = terminated | truncated
        episode_return = worker.episode_return + reward
        episode_length = worker.episode_length + 1
        transition = Transition(
            obs=worker.obs,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            next_obs=next_obs,
            extras=Extras(
                **extras,
                carry=worker.carry,
                episode_return=episode_return,
                episode_length=episode_length,
            ),
        )
        worker = replace(
            worker,
            env_state=env_state,
            obs=obs,
            carry=reset_carry(carry, done),
            episode_return=jnp.where(behind(done, episode_return), 0.0, episode_return),
            episode_length=jnp.where(done, 0, episode_length),
        )
        return worker, transition

    # What is not acted upon stays where it is: a loop would take it along.
    acting = replace(worker, replay=(), update_state=[])
    moved, batch = _cpu.scan(step, acting, (keys_act, keys_env))
    return replace(moved, replay=worker.replay, update_state=worker.update_state), batch


def behind(done: jax.Array, values: jax.Array) -> jax.Array:
    """`done` [...] with axes of size 1 behind, so that it broadcasts with values [..., M]."""
    return done.reshape(done.shape + (1,) * (values.ndim - done.ndim))


def episode_metrics(env: Environment, batch: Transition) -> dict[str, jax.Array]:
    """What the episodes that ended in this batch [T, N] came to; the means are NaN if none did.

    The return of several agents is their `envs.agents.joint_return`.

    Short episodes end more often, so these means lean towards them: they are for watching.
    Results come from `rljax.evaluate`.
    """
    done = batch.done

    def over_episodes(values: jax.typing.ArrayLike) -> jax.Array:
        return jnp.sum(jnp.where(done, values, 0))

    returns = joint_return(env, batch.extras["episode_return"])
    episodes, returns, lengths = collectives.psum(
        (
            over_episodes(1),
            over_episodes(returns),
            over_episodes(batch.extras["episode_length"]),
        )
    )
    return {
        "charts/episodes": episodes.astype(jnp.float32),
        "charts/episodic_return": returns / episodes,
        "charts/episodic_length": lengths / episodes,
    }
