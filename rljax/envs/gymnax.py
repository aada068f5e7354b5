"""Adapter for gymnax 1.x; importing gymnax takes a while, so it happens in `make`."""

import inspect
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import check_parameters, spaces
from rljax.errors import UsageError
from rljax.types import Action, EnvState, Key, Obs

GOALS = (
    "Acrobot-v1",
    "FourRooms-misc",
    "FrozenLake-misc",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
)
"""Those that end because something was reached."""


@dataclass(frozen=True)
class GymnaxEnvironment:
    """A gymnax environment behind rljax's protocol, without gymnax's own automatic reset."""

    name: str
    env: Any
    params: Any
    observation_space: spaces.Space = field(init=False)
    action_space: spaces.Space = field(init=False)

    def __post_init__(self) -> None:
        obs = jax.eval_shape(self.reset, jax.random.key(0))[1]
        described = convert(self.env.observation_space(self.params))
        # gymnax describes some observations with a dtype that ours do not have.
        if isinstance(described, spaces.Box):
            described = replace(described, dtype=obs.dtype)
        object.__setattr__(self, "observation_space", described)
        object.__setattr__(self, "action_space", convert(self.env.action_space(self.params)))

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        obs, state = self.env.reset_env(key, self.params)
        return state, self._observation(obs)

    def step(self, key: Key, state: EnvState, action: Action):
        """State, obs, reward, terminated, truncated; consumes the key."""
        obs, state, reward, terminated, _ = self.env.step_env(key, state, action, self.params)
        truncated = self.env.is_truncated(state, self.params) & ~jnp.asarray(terminated, bool)
        return state, self._observation(obs), reward, terminated, truncated

    def _observation(self, obs: Obs) -> Obs:
        # MinAtar's are zeros and ones, which take a quarter of the memory as what they are.
        return obs.astype(bool) if self.name.endswith("-MinAtar") else obs


@dataclass(frozen=True)
class GymnaxGoal(GymnaxEnvironment):
    """A gymnax environment whose episodes are about reaching something."""

    def success(self, state: EnvState) -> jax.Array:
        """Whether the episode terminated in `state`, and, on FrozenLake, not in a hole."""
        if self.name != "FrozenLake-misc":
            return jnp.asarray(self.env.is_terminated(state, self.params), bool)
        from gymnax.environments.misc.frozen_lake import GOAL

        return self.env.desc.ravel()[state.position] == GOAL


def convert(space: Any) -> spaces.Space:
    """Our description of a gymnax space."""
    match type(space).__name__:
        case "Discrete":
            return spaces.Discrete(int(space.n))
        case "Box":
            low, high = np.asarray(space.low), np.asarray(space.high)
            return spaces.Box(low, high, tuple(space.shape), np.dtype(space.dtype))
        case "Dict":
            return spaces.Dict({name: convert(child) for name, child in space.spaces.items()})
    raise UsageError(f"gymnax space {space!r} has no counterpart in rljax.envs.spaces")


def make(name: str, **params: Any) -> GymnaxEnvironment:
    """The gymnax environment `name`.

    `params` override its EnvParams by field name, or are arguments of its class, such as the size
    of DeepSea-bsuite.
    """
    import gymnax

    try:
        env, defaults = gymnax.make(name)
    except (OSError, EOFError) as error:
        raise UsageError(
            f"environment {name} downloads its data when it is made, and that failed: {error}"
        ) from error
    arguments = inspect.signature(type(env)).parameters
    check_parameters(name, params, [*(f.name for f in fields(defaults)), *arguments])
    structure = {key: params.pop(key) for key in list(params) if key in arguments}
    if structure:
        env, defaults = gymnax.make(name, **structure)
    kind = GymnaxGoal if name in GOALS else GymnaxEnvironment
    return kind(name, env, defaults.replace(**params))
