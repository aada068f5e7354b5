"""Environments of several agents: their axis M, their returns, and what each of them observes.

>>> import rljax
>>> from rljax.envs.agents import described
>>> env = described(rljax.make("TwoStep"), state=True)
>>> sorted(env.observation_space.spaces)
['agent', 'own', 'state']
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError, check_known
from rljax.types import (
    Action,
    Environment,
    EnvState,
    HasActionMask,
    HasGlobalState,
    Key,
    MultiAgentEnvironment,
    Obs,
)

PARAMETERS = ("shared", "teams", "own")
MOST_COMBINATIONS = 10_000
OF_ONE = ("success", "reset_is_costly")
OF_SEVERAL = (
    *OF_ONE,
    "agents",
    "teams",
    "shared_reward",
    "state_space",
    "global_state",
    "action_mask",
)
"""Members that an environment may have besides those of all, and wrappers hand on."""


def agent_axis(env: Any) -> tuple[int, ...]:
    """(M,) of an environment of M agents, else ()."""
    return (len(env.agents),) if isinstance(env, MultiAgentEnvironment) else ()


def stacked(space: spaces.Space, axes: tuple[int, ...]) -> Any:
    """The space of arrays [*axes, ...], each of whose parts is in `space`."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: stacked(part, axes) for name, part in space.spaces.items()})
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(space.n, (*axes, *space.shape), space.dtype)
    return spaces.Box(space.low, space.high, (*axes, *space.shape), space.dtype)


def joint_space(env: Any, space: spaces.Space) -> Any:
    """The space of what all agents have together, [M, ...]; of an environment of one, `space`."""
    return stacked(space, agent_axis(env))


def team_returns(env: Any, returns: jax.Array) -> jax.Array:
    """Returns [..., M] of agents as those of their K teams [..., K]: sums, or what they share."""
    of = jnp.mean if env.shared_reward else jnp.sum
    return jnp.stack([of(returns[..., np.array(team)], axis=-1) for team in env.teams], axis=-1)


def joint_return(env: Any, returns: jax.Array) -> jax.Array:
    """One return [...] of all agents of an environment, by which it is judged.

    From returns [..., M] it is the return of the team. Where there are several teams, it is the
    mean over agents. Of one agent it is `returns` [...].
    """
    if not agent_axis(env):
        return returns
    if len(env.teams) > 1:
        return jnp.mean(returns, axis=-1)
    return team_returns(env, returns)[..., 0]


def groups_of(env: Any, parameters: str, agent: str) -> tuple[int, ...]:
    """For each agent the number of its parameters: one for all, one a team, or one for each.

    Raises UsageError for an environment of one agent, a word that is not known, and teams that are
    not of all agents.
    """
    check_several(env, agent)
    check_known("parameters", parameters, PARAMETERS)
    if parameters == "teams":
        team_of = {place: k for k, team in enumerate(env.teams) for place in team}
        return tuple(team_of[place] for place in range(len(env.agents)))
    return tuple(0 if parameters == "shared" else place for place in range(len(env.agents)))


def check_several(env: Any, agent: str) -> None:
    """Refuse an environment of one agent, and teams in which an agent is missing or twice."""
    if not agent_axis(env):
        raise UsageError(
            f"{agent} trains several agents, and {env.name} has one: use an agent for one, such as "
            "ppo or dqn, or rljax.envs.as_team(env)"
        )
    if sorted(place for team in env.teams for place in team) != list(range(len(env.agents))):
        raise UsageError(
            f"{env.name}: teams = {env.teams} must name each place from 0 to "
            f"{len(env.agents) - 1} of its agents once"
        )


def check_groups(env: Any, groups: Iterable[int] | None, agent: str) -> None:
    """Refuse several agents where nothing says which parameters each of them has."""
    if groups is None and (several := agent_axis(env)):
        raise UsageError(
            f"{agent} trains one agent, and {several[0]} act in {env.name}: use ippo, mappo, iql, "
            "vdn, qmix, maddpg or matd3, or rljax.envs.as_one(env), whose one agent chooses for all"
        )


def check_state(env: Any, agent: str) -> None:
    """Refuse an environment without a global state."""
    if not isinstance(env, HasGlobalState):
        raise UsageError(
            f"{agent} reads a global state, and {env.name} has none: give it state_space and "
            "global_state, or use ippo, iql or vdn"
        )


def check_one_team(env: Any, agent: str) -> None:
    """Refuse agents that do not want the same."""
    check_several(env, agent)
    if len(env.teams) > 1:
        raise UsageError(
            f"{agent} learns the return of one team, and {env.name} has {len(env.teams)}: use "
            "ippo, mappo, iql or maddpg"
        )


def hand_on(wrapper: Any, env: Any, members: Iterable[str]) -> None:
    """Give a wrapper, a frozen dataclass, those of the members that its environment has."""
    for member in members:
        if hasattr(env, member):
            object.__setattr__(wrapper, member, getattr(env, member))


@dataclass(frozen=True)
class Described:
    """Observations as a Dict of parts [M, ...], each of which says something else of an agent."""

    env: Any
    index: bool
    state: bool

    def __post_init__(self) -> None:
        hand_on(self, self.env, OF_SEVERAL)

    @property
    def name(self) -> str:
        """That of the environment."""
        return self.env.name

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

    @property
    def action_space(self) -> Any:
        """That of the environment."""
        return self.env.action_space

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
    return Described(env, index, state)


@dataclass(frozen=True)
class Team:
    """An environment of one agent, as a team of one: axes of agents have M = 1."""

    env: Environment
    agents = ("agent",)
    teams = ((0,),)
    shared_reward = True

    def __post_init__(self) -> None:
        hand_on(self, self.env, OF_ONE)
        if isinstance(self.env, HasActionMask):
            mask = self.env.action_mask
            object.__setattr__(self, "action_mask", lambda state: mask(state)[None])

    @property
    def name(self) -> str:
        """That of the environment."""
        return self.env.name

    @property
    def observation_space(self) -> Any:
        """That of the environment."""
        return self.env.observation_space

    @property
    def action_space(self) -> Any:
        """That of the environment."""
        return self.env.action_space

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
class One:
    """An environment of several agents, as one agent who sees all and chooses for all."""

    env: Any

    def __post_init__(self) -> None:
        hand_on(self, self.env, OF_ONE)

    @property
    def name(self) -> str:
        """That of the environment."""
        return self.env.name

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
