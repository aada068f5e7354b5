"""A table of action values behind the interface of a network."""

import jax.numpy as jnp

from rljax.envs import spaces
from rljax.envs.action_masks import observed
from rljax.envs.agents import check_groups
from rljax.errors import UsageError
from rljax.networks.network import Network
from rljax.networks.q_networks import QNetwork
from rljax.networks.value_heads import scalar
from rljax.types import Carry, Environment, Key, Obs, Params


def q_table(
    env: Environment, initial_value: float = 0.0, num_tables: int = 1, agent: str = "this agent"
) -> QNetwork:
    """Parameters [S, A], or [num_tables, S, A] of which the mean acts.

    Raises UsageError, naming `agent`, for spaces that are not Discrete.
    """
    check_groups(env, None, agent)
    for what, space in (
        ("observations", env.observation_space),
        ("actions", env.action_space),
    ):
        if not isinstance(space, spaces.Discrete):
            raise UsageError(
                f"{agent} keeps a table, so it needs Discrete {what}, "
                f"not {spaces.describe(space)} of {env.name}; use dqn"
            )
    cells = (env.observation_space.n, env.action_space.n)
    shape = (num_tables, *cells) if num_tables > 1 else cells

    def init(key: Key) -> Params:
        return jnp.full(shape, initial_value, jnp.float32)

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        return (jnp.mean(params, axis=0) if num_tables > 1 else params)[observed(obs)], carry

    return QNetwork(Network(init, apply), scalar("squared"))
