"""Stepping an environment with fixed types, and automatic reset, written once for all of them."""

import jax
import jax.numpy as jnp

from rljax.types import Action, Environment, EnvState, Key, Obs


def reset(env: Environment, key: Key) -> tuple[EnvState, Obs]:
    """Start an episode; consumes the key."""
    return _typed(env.reset(key), jax.eval_shape(env.reset, key))


def step(env: Environment, key: Key, state: EnvState, action: Action):
    """Step once: (state, obs, reward, terminated, truncated); consumes the key.

    Types are those of `reset`, so that a loop can carry them, and nothing is weakly typed. A step
    that both terminated and ran out of time counts as terminated.
    """
    next_state, obs, reward, terminated, truncated = env.step(key, state, action)
    terminated = jnp.asarray(terminated, bool)
    truncated = jnp.asarray(truncated, bool) & ~terminated
    typed = _typed((next_state, obs), jax.eval_shape(env.reset, key))
    return *typed, jnp.asarray(reward, jnp.float32), terminated, truncated


def autoreset(env: Environment, key: Key, state: EnvState, action: Action):
    """Step once and, where the episode ended, start the next one.

    Consumes the key. Returns (state, obs, reward, terminated, truncated, next_obs): `state` and
    `obs` belong to the new episode after an end, `next_obs` is what the step itself led to.
    """
    key_step, key_reset = jax.random.split(key)
    next_state, next_obs, reward, terminated, truncated = step(env, key_step, state, action)
    state, obs = jax.tree.map(
        lambda fresh, old: jnp.where(terminated | truncated, fresh, old),
        reset(env, key_reset),
        (next_state, next_obs),
    )
    return state, obs, reward, terminated, truncated, next_obs


def _typed(tree, types):
    """`tree` with the dtypes of `types`, none of them weak; typed keys stay what they are."""

    def fix(x, like):
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            return x
        return jax.lax.convert_element_type(x, like.dtype)

    return jax.tree.map(fix, tree, types)
