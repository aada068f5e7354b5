"""Environments of several agents, seen otherwise.

>>> import rljax
>>> env = rljax.envs.teams.described(rljax.make("TwoStep"), state=True)
>>> sorted(env.observation_space.spaces)
['agent', 'own', 'state']
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.agents import check_several, check_state, joint_return, joint_space
from rljax.envs.simulators import Steps, on_host
from rljax.envs.wrappers import OF_SEVERAL, Wrapper
from rljax.errors import UsageError
from rljax.types import Action, Environment, EnvState, HasActionMask, Key, MaskedObs, Obs

MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Described(Wrapper):
    """Observations as a Dict of parts [M, ...], each of which says something else of an agent."""

    index: bool
    state: bool
    handed_on = OF_SEVERAL

    @cached_property
    def observation_space(self) -> spaces.Dict:
        """The parts."""
        count = len(self.env.agents)
        parts = {"own": self.env.observation_space}
        if self.index:
            parts["agent"] = spaces.Box(0.0, 1.0, (count,))
        if self.state:
            parts["state"] = self.env.state_space
        return spaces.Dict(parts)

    def _described(self, state: EnvState, obs: Obs) -> Obs:
        count = len(self.env.agents)
        parts = {"own": obs}
        if self.index:
            parts["agent"] = jnp.eye(count)
        if self.state:
            known = jnp.asarray(self.env.global_state(state), jnp.float32)
            parts["state"] = jnp.broadcast_to(known, (count, *known.shape))
        return parts

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        state, obs = self.env.reset(key)
        return state, self._described(state, obs)

    def step(self, key: Key, state: EnvState, action: Action):
        """State, obs, reward [M], terminated, truncated; consumes the key."""
        state, obs, *rest = self.env.step(key, state, action)
        return state, self._described(state, obs), *rest


def described(env: Any, index: bool = True, state: bool = False, agent: str = "this agent") -> Any:
    """`env`, whose observations become a Dict of parts, each [M, ...].

    Args:
        env: an environment of several agents.
        index: whether one part, "agent", is the agent's place, one-hot [M].
        state: whether one part, "state", is the global state [G], the same for all.
        agent: who asks, for error messages.

    The part "own" is what the agent observes in `env`. Raises UsageError for an environment of one
    agent, or without a global state.
    """
    check_several(env, agent)
    if state:
        check_state(env, agent)
    one = Described(env, index, state)
    if on_host(env):
        count = len(one.env.agents)
        simulator = partial(DescribedSimulator, env.simulator, count, index, state)
        return replace(env, observation_space=one.observation_space, simulator=simulator)
    return one


class DescribedSimulator:
    """A simulator of M agents, whose observations become a Dict of parts [N, M, ...]."""

    def __init__(self, make: Any, count: int, index: bool, state: bool, num_envs: int):
        self._simulator = make(num_envs)
        self._count, self._index, self._state = count, index, state
        self.num_envs = num_envs

    def _described(self, own: Obs, states: Callable[[], np.ndarray]) -> Obs:
        if isinstance(own, MaskedObs):
            return MaskedObs(self._described(own.obs, states), own.legal)
        parts, leading = {"own": own}, (self.num_envs, self._count)
        if self._index:
            places = np.eye(self._count, dtype=np.float32)
            parts["agent"] = np.broadcast_to(places, (*leading, self._count))
        if self._state:
            known = states()[:, None]
            parts["state"] = np.broadcast_to(known, (*leading, known.shape[-1]))
        return parts

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: parts [N, M, ...]."""
        own = self._simulator.reset(seeds)
        return self._described(own, lambda: self._simulator.states())

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, M, ...]."""
        steps = self._simulator.step(actions)
        return steps._replace(
            obs=self._described(steps.obs, lambda: self._simulator.states()),
            next_obs=self._described(steps.next_obs, lambda: self._simulator.last_states()),
        )

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3]."""
        return self._simulator.render()

    def close(self) -> None:
        """End it."""
        self._simulator.close()


@dataclass(frozen=True)
class Team(Wrapper):
    """An environment of one agent, as a team of one: axes of agents have M = 1."""

    agents = ("agent",)
    teams = ((0,),)
    shared_reward = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.env, HasActionMask):
            mask = self.env.action_mask
            object.__setattr__(self, "action_mask", lambda state: mask(state)[None])

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        state, obs = self.env.reset(key)
        return state, jax.tree.map(lambda x: jnp.asarray(x)[None], obs)

    def step(self, key: Key, state: EnvState, action: Action):
        """State, obs [1, ...], reward [1], terminated, truncated; consumes the key."""
        state, obs, reward, *ends = self.env.step(key, state, action[0])
        obs = jax.tree.map(lambda x: jnp.asarray(x)[None], obs)
        return state, obs, jnp.reshape(reward, (1,)), *ends


@dataclass(frozen=True)
class One(Wrapper):
    """An environment of several agents, as one agent who sees all and chooses for all."""

    @property
    def observation_space(self) -> Any:
        """Of the observations of all agents, [M, ...]."""
        space = joint_space(self.env, self.env.observation_space)
        if isinstance(space, spaces.Discrete):
            return spaces.Box(0, space.n - 1, space.shape, space.dtype)
        return space

    @property
    def action_space(self) -> Any:
        """Each combination of the agents' actions; of a Box, all their numbers."""
        space = self.env.action_space
        if isinstance(space, spaces.Discrete):
            return spaces.Discrete(space.n ** len(self.env.agents))
        together = joint_space(self.env, space)
        return spaces.Box(together.low.ravel(), together.high.ravel(), (together.low.size,))

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        return self.env.reset(key)

    def step(self, key: Key, state: EnvState, action: Action):
        """State, obs [M, ...], the team's reward [], terminated, truncated; consumes the key."""
        space, count = self.env.action_space, len(self.env.agents)
        if isinstance(space, spaces.Discrete):
            of_each = action // space.n ** jnp.arange(count) % space.n
        else:
            of_each = action.reshape(count, *space.shape)
        state, obs, reward, *ends = self.env.step(key, state, of_each)
        return state, obs, joint_return(self.env, reward), *ends


def as_team(env: Environment) -> Team:
    """An environment of one agent, for algorithms of several: its axis of agents has M = 1."""
    return Team(env)


def as_one(env: Any) -> One:
    """An environment of several agents, for algorithms of one: it sees all and chooses for all.

    Raises UsageError for more than 10,000 combinations of actions, and for masks of actions.
    """
    check_several(env, "as_one")
    one = One(env)
    combinations = getattr(one.action_space, "n", 0)
    if isinstance(env, HasActionMask) or combinations > MOST_COMBINATIONS:
        many = f"{combinations:,} combinations of actions" if combinations else "a mask of actions"
        raise UsageError(
            f"as_one is for at most {MOST_COMBINATIONS:,} combinations of actions without a mask, "
            f"and {env.name} has {many}: use an algorithm for several agents, such as ippo"
        )
    return one
