"""Hindsight: what was done to reach one goal, seen as done to reach another one."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.envs.action_masks import observed
from rljax.errors import UsageError
from rljax.types import Batch, Environment, HasGoals, Key, MaskedObs, Obs, Params, Update
from rljax.updates.composition import stateless


def hindsight(env: Environment, fraction=0.8) -> Update:
    """Give a part of the windows of a sample the goal of what was reached later in them.

    Reads all fields of a step, of a sample of windows [K, B]. Of `fraction` of the windows it
    replaces the goal in obs and next_obs by one that was achieved in a random step from the first
    one on: within its episode and its window. The reward and terminated are those of that goal; a
    step that ended its episode is truncated where it does not terminate now. It comes before
    `n_step`, which keeps the first step of each window: so its goal is one that was reached at most
    K steps later, the strategy "future" with a horizon. Where the goal is new, what other updates
    have made of the rewards is lost. A mask of legal actions stays.

    Args:
        env: with the members of `rljax.types.HasGoals`.
        fraction: 0.8 is the paper's k = 4, of four new goals for an old one.

    Raises UsageError for an environment without goals.

    Source: Andrychowicz et al. 2017, algorithm 1 and section 4.5,
    https://arxiv.org/abs/1707.01495.
    """
    goals: Any = check_goals(env)
    achieved, with_goal, goal_reward = (
        jax.vmap(function) for function in (goals.achieved_goal, goals.with_goal, goals.goal_reward)
    )

    def apply(params: Params, batch: Batch, key: Key):
        length, windows = batch.reward.shape
        # The last step of the episode that the first one is of.
        last = jnp.where(batch.done.any(axis=0), jnp.argmax(batch.done, axis=0), length - 1)
        keys = collectives.row_keys(key, 1, windows)[0]
        chance = jax.vmap(lambda k: jax.random.uniform(k, (2,)))(keys)
        later = jnp.minimum((chance[:, 0] * (last + 1)).astype(jnp.int32), last)
        reached = jax.tree.map(lambda x: x[later, jnp.arange(windows)], batch.next_obs)
        goal, chosen = achieved(observed(reached)), chance[:, 1] < fraction
        obs, next_obs = (
            jax.vmap(lambda x: with_goal(x, goal))(observed(x)) for x in (batch.obs, batch.next_obs)
        )
        reward, terminated = jax.vmap(goal_reward)(next_obs)
        obs, next_obs = _masked_as(batch.obs, obs), _masked_as(batch.next_obs, next_obs)
        new = {
            "obs": obs,
            "next_obs": next_obs,
            "reward": reward,
            "terminated": terminated,
            "truncated": batch.done & ~terminated,
        }

        def where_chosen(x: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(chosen.reshape(-1, *[1] * (x.ndim - 2)), x, old)

        old = {name: batch.get(name) for name in new}
        return replace(batch, **jax.tree.map(where_chosen, new, old)), {}

    return stateless(apply)


def _masked_as(before: Obs, obs: Obs) -> Obs:
    """Observations with the mask of those before, if there is one."""
    return replace(before, obs=obs) if isinstance(before, MaskedObs) else obs


def check_goals(env: Environment) -> HasGoals:
    """`env`, whose episodes have goals; UsageError if they have none."""
    if not isinstance(env, HasGoals):
        raise UsageError(
            f"hindsight needs an environment with goals, which {env.name} is not: give it "
            "achieved_goal, with_goal and goal_reward, see rljax.types.HasGoals"
        )
    return env
