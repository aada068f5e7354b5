"""What Brax and MuJoCo Playground have in common: robots whose physics is written in JAX.

Both have `reset(key) -> State` and `step(State, action) -> State`, where a State has obs, reward
and done. Their own wrappers for time limits and automatic resets are not used: those forget the
last observation of an episode, and begin each episode in the same state.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rljax.envs import spaces
from rljax.errors import UsageError, check_known, check_positive
from rljax.types import Action, Key, Obs


@struct.dataclass
class PhysicsState:
    """An episode under way."""

    inner: Any  # the suite's own State
    time: jax.Array  # [] int32, steps of the episode so far


@dataclass(frozen=True, eq=False)
class PhysicsEnvironment:
    """A task of a suite behind rljax's protocol.

    `done` of the suite is a termination. An episode is truncated after `episode_length` steps of
    the suite. In one step of ours an action is repeated `action_repeat` times, or until the episode
    is terminated, and rewards are added up. Actions are in [-1, 1].
    """

    name: str
    env: Any  # the suite's own, without wrappers
    episode_length: int = 1000
    action_repeat: int = 1
    part: str | None = None
    """The part of an observation with names that is observed; None for all of it."""
    observation_space: spaces.Space = field(init=False)
    action_space: spaces.Space = field(init=False)
    reset_is_costly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive(episode_length=self.episode_length, action_repeat=self.action_repeat)
        # Compiled functions are traced once, and their states may be changed in place.
        object.__setattr__(self, "_reset", jax.jit(self.env.reset))
        object.__setattr__(self, "_step", jax.jit(self.env.step))
        observed = jax.eval_shape(self._reset, jax.random.key(0)).obs  # type: ignore[attr-defined]
        if self.part is not None:
            if not isinstance(observed, Mapping):
                raise UsageError(f"{self.name} observes one array: leave out part={self.part!r}")
            check_known(f"{self.name}: part", self.part, observed)
        object.__setattr__(self, "observation_space", _space(self._observed(observed)))
        bounds = -np.ones(()), np.ones(())
        object.__setattr__(self, "action_space", spaces.Box(*bounds, (self.env.action_size,)))

    def reset(self, key: Key) -> tuple[PhysicsState, Obs]:
        """A fresh episode; consumes the key."""
        inner = self._reset(key)  # type: ignore[attr-defined]
        return PhysicsState(inner, jnp.int32(0)), self._observed(inner.obs)

    def step(self, key: Key, state: PhysicsState, action: Action):
        """State, obs, reward, terminated, truncated; the key is not used."""
        inner = self._step(state.inner, action)  # type: ignore[attr-defined]
        reward, terminated = inner.reward, inner.done.astype(bool)
        for _ in range(self.action_repeat - 1):
            last, over = inner, terminated
            inner = self._step(last, action)  # type: ignore[attr-defined]
            reward += jnp.where(over, 0.0, inner.reward)
            terminated |= inner.done.astype(bool)
            inner = jax.tree.map(lambda old, new, over=over: jnp.where(over, old, new), last, inner)
        time = state.time + 1
        truncated = (time * self.action_repeat >= self.episode_length) & ~terminated
        obs = self._observed(inner.obs)
        return PhysicsState(inner, time), obs, reward, terminated, truncated

    @property
    def seconds_per_step(self) -> float:
        """Simulated time of one step."""
        return float(self.env.dt) * self.action_repeat

    @abstractmethod
    def poses(self, states: PhysicsState) -> tuple[Any, dict[str, np.ndarray]]:
        """For states with leaves [T, ...], MuJoCo's model and fields of its MjData [T, ...].

        Raises UsageError for a task that has no model, and so no picture.
        """

    def _observed(self, obs: Any) -> Any:
        if isinstance(obs, Mapping):
            return dict(obs) if self.part is None else obs[self.part]
        return obs


def _space(observed: Any) -> spaces.Space:
    """The space of observations of these shapes; neither suite knows bounds."""
    if isinstance(observed, Mapping):
        return spaces.Dict({name: _space(part) for name, part in observed.items()})
    return spaces.Box(-np.inf, np.inf, observed.shape, observed.dtype)
