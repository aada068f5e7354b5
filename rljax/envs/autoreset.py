"""Automatic reset, written once for every environment."""

import jax
import jax.numpy as jnp

from rljax.types import Action, Environment, EnvState, Key, Obs


def strong(tree, like=None):
    """Arrays of fixed dtypes, so that a loop carry keeps its type; dtypes of `like` if given."""
    if like is None:
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.asarray(x).dtype), tree)
    return jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), tree, like)


def reset(env: Environment, key: Key) -> tuple[EnvState, Obs]:
    """Start an episode; consumes the key."""
    return strong(env.reset(key))


def step(env: Environment, key: Key, state: EnvState, action: Action):
    """Step once and, where the episode ended, start the next.

    Consumes the key. Returns (state, obs, reward, terminated, truncated, next_obs): `state` and
    `obs` belong to the new episode after an end, `next_obs` is what the step itself led to.
    """
    key_step, key_reset = jax.random.split(key)
    fresh_state, fresh_obs = reset(env, key_reset)
    next_state, next_obs, reward, terminated, truncated = env.step(key_step, state, action)
    terminated = jnp.asarray(terminated, bool)
    truncated = jnp.asarray(truncated, bool)
    next_obs = strong(next_obs, fresh_obs)
    done = terminated | truncated
    state, obs = jax.tree.map(
        lambda fresh, old: jnp.where(done, fresh, old),
        (fresh_state, fresh_obs),
        (strong(next_state, fresh_state), next_obs),
    )
    return state, obs, jnp.asarray(reward, jnp.float32), terminated, truncated, next_obs
