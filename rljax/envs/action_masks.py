"""Which actions are legal: how the mask of an environment travels with its observations."""

import jax
import numpy as np

from rljax.envs import spaces
from rljax.envs.agents import agent_axis
from rljax.errors import UsageError
from rljax.types import Environment, EnvState, HasActionMask, MaskedObs, Obs, StateObs


def with_mask(
    env: Environment, state: EnvState, obs: Obs, terminated: jax.Array | bool = False
) -> Obs:
    """`obs`, and with it the mask of an environment that has one: a `MaskedObs`.

    Where the episode terminated nobody acts any more, so every action counts as legal there.

    Raises UsageError for a mask that is not bool [A], of M agents [M, A], and for actions that are
    not Discrete.
    """
    if not isinstance(env, HasActionMask):
        return obs
    space = env.action_space
    if not isinstance(space, spaces.Discrete):
        raise UsageError(
            f"{env.name}: action_mask is for Discrete actions, not {spaces.describe(space)}: "
            "remove it, and let step deal with actions that have no effect"
        )
    mask = env.action_mask(state)
    due = [*agent_axis(env), space.n]
    shape, dtype = getattr(mask, "shape", None), getattr(mask, "dtype", None)
    if shape != tuple(due) or dtype != np.bool_:
        found = type(mask).__name__ if shape is None else f"{dtype}{list(shape)}"
        raise UsageError(
            f"{env.name}: action_mask gives {found}, where bool{due} is due: write True for "
            "each action that is legal, and False for the others"
        )
    return MaskedObs(obs, mask | terminated)


def observed(obs: Obs) -> Obs:
    """What a policy or a table reads of an observation: all but mask and state."""
    seen = obs.obs if isinstance(obs, MaskedObs) else obs
    return seen.obs if isinstance(seen, StateObs) else seen


def legal_actions(obs: Obs) -> jax.Array | None:
    """The mask bool [..., A] that travels with observations [...]; None where there is none."""
    return obs.legal if isinstance(obs, MaskedObs) else None
