"""Environments in which each episode has a goal of its own, which is part of what is observed.

>>> import rljax
>>> rljax.make("BitFlip", bits=4).observation_space.shape
(8,)
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import check_positive
from rljax.types import Action, Key, Obs


class GoalState(NamedTuple):
    """Where an episode is, and where it should get to."""

    now: jax.Array  # [n]
    goal: jax.Array  # [n]
    time: jax.Array  # [] int32, steps of the episode so far


@dataclass(frozen=True)
class BitFlip:
    """Bits, one of which each action flips, until they are those of the goal.

    Observed are the bits and the goal, bool [2 x bits]; both begin at random. Each step pays -1,
    and 0 when all bits are right, which terminates. Episodes are truncated after `bits` steps.

    Raises UsageError for less than one bit.

    Source: Andrychowicz et al. 2017, section 3.1, https://arxiv.org/abs/1707.01495.
    """

    bits: int = 8
    name = "BitFlip"

    def __post_init__(self) -> None:
        check_positive(bits=self.bits)

    @property
    def action_space(self) -> spaces.Discrete:
        """The bit to flip."""
        return spaces.Discrete(self.bits)

    @property
    def observation_space(self) -> spaces.Box:
        """The bits and the goal."""
        return spaces.Box(0, 1, (2 * self.bits,), np.bool_)

    def reset(self, key: Key) -> tuple[GoalState, Obs]:
        """Random bits and a random goal; consumes the key."""
        obs = jax.random.bernoulli(key, shape=(2 * self.bits,))
        return GoalState(obs[: self.bits], obs[self.bits :], jnp.int32(0)), obs

    def step(self, key: Key, state: GoalState, action: Action):
        """Flip a bit; the key is not used."""
        now = state.now ^ (jnp.arange(self.bits) == action)
        state = GoalState(now, state.goal, state.time + 1)
        obs = jnp.concatenate([now, state.goal])
        reward, terminated = self.goal_reward(obs)
        return state, obs, reward, terminated, state.time >= self.bits

    def success(self, state: GoalState) -> jax.Array:
        """Whether all bits are right."""
        return jnp.all(state.now == state.goal)

    def achieved_goal(self, obs: Obs) -> jax.Array:
        """The bits."""
        return obs[: self.bits]

    def with_goal(self, obs: Obs, goal: jax.Array) -> Obs:
        """The same bits, and another goal."""
        return jnp.concatenate([obs[: self.bits], goal])

    def goal_reward(self, next_obs: Obs) -> tuple[jax.Array, jax.Array]:
        """-1, or 0 and the end where all bits are right."""
        there = jnp.all(next_obs[: self.bits] == next_obs[self.bits :])
        return jnp.where(there, 0.0, -1.0), there


@dataclass(frozen=True)
class PointReach:
    """A point in a square, moved by at most `speed` in both directions, and a place to reach.

    Observed are the point and the goal, float32 [4] in [-1, 1]; both begin at random. Actions [2]
    are in [-1, 1]. Each step pays -1, and 0 within `radius` of the goal, which terminates. Episodes
    are truncated after `limit` steps.
    """

    speed: float = 0.2
    radius: float = 0.1
    limit: int = 25
    name = "PointReach"
    action_space = spaces.Box(-1.0, 1.0, (2,))
    observation_space = spaces.Box(-1.0, 1.0, (4,))

    def reset(self, key: Key) -> tuple[GoalState, Obs]:
        """A random point and a random goal; consumes the key."""
        obs = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        return GoalState(obs[:2], obs[2:], jnp.int32(0)), obs

    def step(self, key: Key, state: GoalState, action: Action):
        """Move the point; the key is not used."""
        now = jnp.clip(state.now + self.speed * jnp.clip(action, -1.0, 1.0), -1.0, 1.0)
        state = GoalState(now, state.goal, state.time + 1)
        obs = jnp.concatenate([now, state.goal])
        reward, terminated = self.goal_reward(obs)
        return state, obs, reward, terminated, state.time >= self.limit

    def success(self, state: GoalState) -> jax.Array:
        """Whether the point is at the goal."""
        return self.goal_reward(jnp.concatenate([state.now, state.goal]))[1]

    def achieved_goal(self, obs: Obs) -> jax.Array:
        """Where the point is."""
        return obs[:2]

    def with_goal(self, obs: Obs, goal: jax.Array) -> Obs:
        """The same point, and another goal."""
        return jnp.concatenate([obs[:2], goal])

    def goal_reward(self, next_obs: Obs) -> tuple[jax.Array, jax.Array]:
        """-1, or 0 and the end within `radius` of the goal."""
        there = jnp.linalg.norm(next_obs[:2] - next_obs[2:]) < self.radius
        return jnp.where(there, 0.0, -1.0), there
