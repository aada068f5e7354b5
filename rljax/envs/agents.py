"""Environments of several agents: their axis M, their teams, and what does not fit them."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError, check_known
from rljax.types import (
    HasGlobalState,
    MultiAgentEnvironment,
    TwoPlayerGame,
)

PARAMETERS = ("shared", "teams", "own")


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
            "ppo or dqn, or rljax.envs.teams.as_team(env)"
        )
    if sorted(place for team in env.teams for place in team) != list(range(len(env.agents))):
        raise UsageError(
            f"{env.name}: teams = {env.teams} must name each place from 0 to "
            f"{len(env.agents) - 1} of its agents once"
        )


def check_groups(env: Any, groups: Iterable[int] | None, agent: str) -> None:
    """Refuse several agents where nothing says which parameters each of them has, and games."""
    if groups is None:
        check_one_agent(env, agent)
        check_one_player(env, agent)


def check_one_agent(env: Any, agent: str) -> None:
    """Refuse several agents that act at once."""
    if several := agent_axis(env):
        raise UsageError(
            f"{agent} trains one agent, and {several[0]} act in {env.name}: use ippo, mappo, iql, "
            "vdn, qmix, maddpg or matd3, or rljax.envs.teams.as_one(env), whose one agent chooses "
            "for all"
        )


def check_one_player(env: Any, agent: str) -> None:
    """Refuse a game of two players, whose rewards are now those of one and now of the other."""
    if isinstance(env, TwoPlayerGame):
        raise UsageError(
            f"{agent} trains one player, and two take turns in {env.name}: use alphazero, ppo "
            "with opponents = 8, or rljax.envs.opponents.Against(env), in which somebody else "
            "moves for the other"
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
