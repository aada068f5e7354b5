"""Stepping an environment with fixed types, and automatic reset, written once for all of them."""

import jax
import jax.numpy as jnp

from rljax.envs.action_masks import with_mask
from rljax.errors import ceil_div
from rljax.types import Action, Environment, EnvState, HasCostlyReset, Key, Obs

PORTIONS = 16
"""Of how many parts the costly resets of a batch are made, as many as there are ended episodes."""


def reset(env: Environment, key: Key) -> tuple[EnvState, Obs]:
    """Start an episode; consumes the key.

    The observation of an environment with an action mask is a `MaskedObs`, here and below.
    """
    state, obs = _typed(env.reset(key), jax.eval_shape(env.reset, key))
    return state, with_mask(env, state, obs)


def step(env: Environment, key: Key, state: EnvState, action: Action):
    """Step once: (state, obs, reward, terminated, truncated); consumes the key.

    Types are those of `reset`, so that a loop can carry them, and nothing is weakly typed. A step
    that both terminated and ran out of time counts as terminated.
    """
    next_state, obs, reward, terminated, truncated = env.step(key, state, action)
    terminated = jnp.asarray(terminated, bool)
    truncated = jnp.asarray(truncated, bool) & ~terminated
    state, obs = _typed((next_state, obs), jax.eval_shape(env.reset, key))
    obs = with_mask(env, state, obs, terminated)
    return state, obs, jnp.asarray(reward, jnp.float32), terminated, truncated


def autoreset(env: Environment, key: Key, state: EnvState, action: Action):
    """Step once and, where the episode ended, start the next one.

    Consumes the key. Returns (state, obs, reward, terminated, truncated, next_obs): `state` and
    `obs` belong to the new episode after an end, `next_obs` is what the step itself led to.
    """
    key_step, key_reset = jax.random.split(key)
    next_state, next_obs, reward, terminated, truncated = step(env, key_step, state, action)
    begin = _reset_ended if isinstance(env, HasCostlyReset) else _reset_all
    state, obs = begin(env, key_reset, terminated | truncated, (next_state, next_obs))
    return state, obs, reward, terminated, truncated, next_obs


def _reset_all(env: Environment, key: Key, ended: jax.Array, now: tuple[EnvState, Obs]):
    """What follows a step: `now`, and where the episode ended, what the next one begins with."""
    return _where(ended, reset(env, key), now)


def _reset_ended(env: Environment, key: Key, ended: jax.Array, now: tuple[EnvState, Obs]):
    """The same, without a reset where no episode ended.

    Under `jax.vmap` the environments whose episodes ended are reset a portion at a time, so the
    work is in proportion to how many they are.
    """

    @jax.custom_batching.custom_vmap
    def begin(key, ended, now):
        return jax.lax.cond(ended, lambda: reset(env, key), lambda: now)

    @begin.def_vmap
    def begin_batch(size, batched, *arguments):
        keys, ended, now = jax.tree.map(
            lambda x, has_axis: x if has_axis else jnp.broadcast_to(x, (size, *x.shape)),
            arguments,
            tuple(batched),
        )
        order, portion = jnp.argsort(~ended, stable=True), ceil_div(size, PORTIONS)

        def begin_portion(i, now):
            # The last portion may begin earlier than it says, and reset the same to the same.
            rows = jax.lax.dynamic_slice_in_dim(order, i * portion, portion)
            fresh = jax.vmap(lambda key: reset(env, key))(keys[rows])
            kept = jax.tree.map(lambda x: x[rows], now)
            chosen = jax.vmap(_where)(ended[rows], fresh, kept)
            return jax.tree.map(lambda x, new: x.at[rows].set(new), now, chosen)

        portions = ceil_div(jnp.sum(ended), portion)
        begun = jax.lax.fori_loop(0, portions, begin_portion, now)
        return begun, jax.tree.map(lambda _: True, begun)

    return begin(key, ended, now)


def _where(condition: jax.Array, yes, no):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), yes, no)


def _typed(tree, types):
    """`tree` with the dtypes of `types`, none of them weak; typed keys stay what they are."""

    def fix(x, like):
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            return x
        return jax.lax.convert_element_type(x, like.dtype)

    return jax.tree.map(fix, tree, types)
