"""Environments of which something else is observed: some numbers alone, or the step before, too."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.simulators import Simulator, Steps, on_host
from rljax.envs.wrappers import Wrapper
from rljax.errors import UsageError
from rljax.types import Action, EnvState, Key, Obs


@dataclass(frozen=True)
class View:
    """From an observation [..., F], and the step that led to it, to what is observed of both."""

    inner: spaces.Discrete | spaces.Box
    actions: spaces.Discrete | spaces.Box
    observed: tuple[int, ...] | None  # places of the numbers; None for all
    previous_step: bool

    @property
    def space(self) -> spaces.Box:
        """Of what is observed."""
        if isinstance(self.inner, spaces.Discrete):
            low, high = np.zeros(self.inner.n), np.ones(self.inner.n)
        else:
            low, high = self.inner.low, self.inner.high
        if self.observed is not None:
            low, high = low[list(self.observed)], high[list(self.observed)]
        if self.previous_step:
            # Of the action, none of which is taken before the first step, and of the reward.
            if isinstance(self.actions, spaces.Discrete):
                least, most = np.zeros(self.actions.n), np.ones(self.actions.n)
            else:
                least = np.minimum(self.actions.low, 0).ravel()
                most = np.maximum(self.actions.high, 0).ravel()
            low, high = np.append(low, [*least, -np.inf]), np.append(high, [*most, np.inf])
        return spaces.Box(low, high, low.shape)

    def __call__(self, xp: Any, obs: Any, action: Any, reward: Any) -> Any:
        """Observations [..., G] of arrays of `xp`: of NumPy, or of jax.numpy."""
        if isinstance(self.inner, spaces.Discrete):
            obs = xp.asarray(obs)[..., None] == xp.arange(self.inner.n)
        parts = [obs if self.observed is None else obs[..., list(self.observed)]]
        if self.previous_step:
            if isinstance(self.actions, spaces.Discrete):
                parts.append(xp.asarray(action)[..., None] == xp.arange(self.actions.n))
            else:
                parts.append(xp.reshape(action, (*parts[0].shape[:-1], -1)))
            parts.append(xp.asarray(reward)[..., None])
        return xp.concatenate([xp.asarray(part, np.float32) for part in parts], axis=-1)

    def first(self, xp: Any, obs: Any) -> Any:
        """Observations with which an episode begins: no action, and a reward of 0."""
        discrete = isinstance(self.inner, spaces.Discrete)
        leading = xp.shape(obs) if discrete else xp.shape(obs)[:-1]
        if isinstance(self.actions, spaces.Discrete):
            action = xp.full(leading, -1)
        else:
            action = xp.zeros((*leading, *self.actions.shape))
        return self(xp, obs, action, xp.zeros(leading))


@dataclass(frozen=True)
class ViewedEnvironment(Wrapper):
    """An environment written in JAX, through a view."""

    view: View

    @property
    def observation_space(self) -> spaces.Box:
        """Of the view."""
        return self.view.space

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        state, obs = self.env.reset(key)
        return state, self.view.first(jnp, obs)

    def step(self, key: Key, state: EnvState, action: Action):
        """State, obs, reward, terminated, truncated; consumes the key."""
        state, obs, *rest = self.env.step(key, state, action)
        return state, self.view(jnp, obs, action, rest[0]), *rest


class ViewedSimulator:
    """A simulator of the host, through a view."""

    def __init__(self, make: Any, view: View, num_envs: int):
        self._simulator: Simulator = make(num_envs)
        self._view = view
        self.num_envs = num_envs

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, ...]."""
        return self._view.first(np, self._simulator.reset(seeds))

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, ...]."""
        steps = self._simulator.step(actions)
        begins = (steps.terminated | steps.truncated)[:, None]
        goes_on = self._view(np, steps.obs, actions, steps.reward)
        return steps._replace(
            obs=np.where(begins, self._view.first(np, steps.obs), goes_on),
            next_obs=self._view(np, steps.next_obs, actions, steps.reward),
        )

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3]."""
        return self._simulator.render()

    def close(self) -> None:
        """End it."""
        self._simulator.close()


def viewed(env: Any, observed: Sequence[int] | None = None, previous_step: bool = False) -> Any:
    """`env`, of which something else is observed; itself where nothing is asked for.

    Args:
        env: an environment written in JAX, or a simulator of the host, whose observations are
            Discrete or a Box of one axis.
        observed: places of the numbers that are observed, such as (0, 2) for the positions of
            CartPole without its velocities; None for all.
        previous_step: whether the action and the reward of the step before are observed, too. A
            discrete action is one-hot, and before the first step all are 0.

    Raises UsageError for observations of another kind, and for places that there are not.
    """
    if observed is None and not previous_step:
        return env
    space = env.observation_space
    discrete = isinstance(space, spaces.Discrete)
    if not discrete and not (isinstance(space, spaces.Box) and len(space.shape) == 1):
        raise UsageError(
            f"observed and previous_step are for observations that are Discrete or a Box of one "
            f"axis, not {spaces.describe(space)} of {env.name}: leave them out"
        )
    count = space.n if discrete else space.shape[0]
    for place in observed or ():
        if type(place) is not int or not 0 <= place < count:
            raise UsageError(
                f"observed = {list(observed or ())} names places from 0 to {count - 1} of the "
                f"observations of {env.name}, not {place!r}"
            )
    if observed is not None and not observed:
        raise UsageError("observed names no place: name one at least, or leave it out")
    view = View(
        space, env.action_space, None if observed is None else tuple(observed), previous_step
    )
    if on_host(env):
        simulator = partial(ViewedSimulator, env.simulator, view)
        return replace(env, observation_space=view.space, simulator=simulator)
    return ViewedEnvironment(env, view)
