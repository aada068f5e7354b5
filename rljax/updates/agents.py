"""What the rewards of several agents come to."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from rljax.envs.agents import check_one_team, joint_return
from rljax.types import Batch, Environment, Key, Params, Update
from rljax.updates.composition import stateless


def team_reward(env: Environment, agent: str = "this agent") -> Update:
    """Replace the rewards of the agents by the one of their team.

    Reads reward [T, N, M] of fresh experience, and replaces it by [T, N]: the reward that they
    share, or the sum of theirs.

    Raises UsageError for an environment of several teams.
    """
    check_one_team(env, agent)

    def apply(params: Params, batch: Batch, key: Key):
        return replace(batch, reward=joint_return(env, batch.reward)), {}

    return stateless(apply)


def over_agents(values: jax.Array, batch: Batch) -> jax.Array:
    """The means [T, N] of values [T, N, M] over agents; values [T, N] stay as they are."""
    return jnp.mean(values, axis=tuple(range(batch.terminated.ndim, values.ndim)))
