"""Simulators of several agents: parallel environments of PettingZoo, and of packages like it.

Importing PettingZoo happens in the functions, because most people do not need it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from rljax.envs import conversion, spaces
from rljax.envs.gymnasium import picture
from rljax.envs.simulators import (
    HostTeam,
    HostTeamWithState,
    MaskedHostTeam,
    MaskedHostTeamWithState,
    Steps,
)
from rljax.errors import UsageError, check_extra
from rljax.types import MaskedObs, Obs

PACKAGES = ("", "pettingzoo.")
"""In front of an id, which is a module with a function `parallel_env`."""
MASK = "action_mask"
"""What PettingZoo calls a mask, in the information of an agent or beside its observation."""


def make(id: str, **params: Any) -> HostTeam:
    """The environment whose module is `id`; `params` are those of its function `parallel_env`.

    Such as `mpe2.simple_spread_v3`, or `sisl.pursuit_v4`, which is PettingZoo's own. Raises
    UsageError for a module that is not there, or has no such function.
    """
    name = f"pettingzoo/{id}"
    check_extra(name, "multiagent", "pettingzoo")
    return from_function(partial(_made, id, params), name)


def _made(id: str, params: Mapping[str, Any]) -> Any:
    for package in PACKAGES:
        try:
            module = importlib.import_module(package + id)
        except ModuleNotFoundError as error:
            if error.name and not (package + id).startswith(error.name):
                raise UsageError(f"pettingzoo/{id} needs {error.name}: install it") from None
            continue
        if hasattr(module, "parallel_env"):
            return module.parallel_env(**params)
    raise UsageError(
        f"env 'pettingzoo/{id}' is no module: write one with a function parallel_env, such as "
        "mpe2.simple_spread_v3, or sisl.pursuit_v4 of PettingZoo"
    )


def from_function(function: Callable[[], Any], name: str) -> HostTeam:
    """The parallel environments of PettingZoo that a function of no arguments makes."""
    simulator = partial(ParallelLoop, name, function)
    one = simulator(1)
    try:
        described: dict[str, Any] = {
            "name": name,
            "observation_space": one.observation_space,
            "action_space": one.action_space,
            "simulator": simulator,
            "agents": one.agents,
            "teams": (tuple(range(len(one.agents))),),
        }
        if one.state_space is None:
            return (MaskedHostTeam if one.masked else HostTeam)(**described)
        kind = MaskedHostTeamWithState if one.masked else HostTeamWithState
        return kind(**described, state_space=one.state_space)
    finally:
        one.close()


class ParallelLoop:
    """N parallel environments that are stepped one after the other, on the thread that asks.

    Observations of agents are padded with zeros to the largest. An agent that has left observes
    zeros and is paid 0, and what it does is not used. Of an agent with fewer actions than others,
    those beyond are its last one. An episode ends when all agents have left, and terminated if none
    of them was truncated.

    Observations are a `MaskedObs` where agents are told which actions are legal, as "action_mask"
    in their information or beside their observation, and where their numbers of actions differ.
    Who has left, and whose mask allows nothing while another agent may act, has one legal action.
    """

    def __init__(self, name: str, make: Callable[[], Any], num_envs: int) -> None:
        from pettingzoo import ParallelEnv

        self.name, self.num_envs = name, num_envs
        self._envs = [make() for _ in range(num_envs)]
        first = self._envs[0]
        if not isinstance(first, ParallelEnv):
            raise UsageError(
                f"{name} is a {type(first).__name__}: return a parallel environment of PettingZoo, "
                "for example by pettingzoo.utils.aec_to_parallel"
            )
        self.agents = tuple(first.possible_agents)
        self._actions = [first.action_space(agent) for agent in self.agents]
        described = [first.observation_space(agent) for agent in self.agents]
        self.observation_space = _largest(
            [conversion.observation_space(_unmasked(space), name) for space in described],
            f"{name} observes",
        )
        self.action_space = _largest(
            [conversion.action_space(space, name) for space in self._actions], f"{name} acts in"
        )
        told = any(MASK in info for info in first.reset(seed=0)[1].values())
        counts = {getattr(space, "n", None) for space in self._actions}
        self.masked = told or len(counts) > 1 or any(map(_has_mask, described))
        self.state_space = None
        if (state := getattr(first, "state_space", None)) is not None:
            self.state_space = spaces.Box(-np.inf, np.inf, (int(np.prod(state.shape)),))

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, M, ...]."""
        begun = zip(self._envs, seeds, strict=True)
        return _batch([self._observed(env, *env.reset(seed=int(seed))) for env, seed in begun])

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, M, ...]; rewards are [N, M]."""
        seen, *rest = zip(*map(self._step, self._envs, actions), strict=True)
        rewards, ends, cuts = map(np.stack, rest)
        obs = last = _batch(seen)
        over = ends | cuts
        self._last_states = self.states() if self.state_space else None
        if over.any():
            both = zip(self._envs, seen, over, strict=True)
            obs = _batch([self._observed(e, *e.reset()) if done else x for e, x, done in both])
        return Steps(obs, rewards, ends, cuts, last, rewards.sum(axis=-1), over)

    def states(self) -> np.ndarray:
        """The global states, float32 [N, G]."""
        return np.stack([np.asarray(env.state(), np.float32).ravel() for env in self._envs])

    def last_states(self) -> np.ndarray:
        """Those that the last step led to, before any automatic reset, float32 [N, G]."""
        assert self._last_states is not None
        return self._last_states

    def _step(self, env: Any, action: np.ndarray) -> tuple[Any, ...]:
        given = {
            agent: _given(space, action[place])
            for place, (agent, space) in enumerate(zip(self.agents, self._actions, strict=True))
            if agent in env.agents
        }
        seen, rewards, _, truncations, infos = env.step(given)
        paid = np.array([rewards.get(agent, 0.0) for agent in self.agents], np.float32)
        over, cut = not env.agents, any(truncations.values())
        obs = self._observed(env, seen, infos)
        if self.masked and over and not cut:
            obs = obs.replace(legal=np.ones_like(obs.legal))
        return obs, paid, np.bool_(over and not cut), np.bool_(over and cut)

    def _observed(self, env: Any, seen: Mapping[str, Any], infos: Mapping[str, Any]) -> Any:
        """Observations of all agents [M, ...], zeros for who is not there; masked if they are."""
        space = self.observation_space
        out = np.zeros((len(self.agents), *space.shape), space.dtype)
        for place, agent in enumerate(self.agents):
            if agent in seen:
                row = seen[agent]
                row = np.asarray(row["observation"] if isinstance(row, Mapping) else row)
                out[place][tuple(slice(size) for size in row.shape)] = row
        if not self.masked:
            return out
        return MaskedObs(out, self._legal(env, seen, infos))  # type: ignore[arg-type]

    def _legal(self, env: Any, seen: Mapping[str, Any], infos: Mapping[str, Any]) -> np.ndarray:
        """Which actions are legal for each agent, bool [M, A].

        Raises UsageError for a mask of another size, and where nobody may act.
        """
        legal = np.zeros((len(self.agents), self.action_space.n), bool)
        present = env.agents or seen  # Where the episode has ended, who was there until then.
        for place, (agent, space) in enumerate(zip(self.agents, self._actions, strict=True)):
            if agent not in present:
                continue
            row = seen[agent] if isinstance(seen[agent], Mapping) else infos.get(agent, {})
            mask = np.asarray(row.get(MASK, np.ones(space.n)), bool)
            if mask.shape != (space.n,):
                raise UsageError(
                    f"{self.name}: {MASK} of {agent} has shape {list(mask.shape)}, where "
                    f"[{space.n}] is due: give one number for each of its actions"
                )
            # Of an episode that the clock has ended, agents value what they could do.
            legal[place, : space.n] = mask if env.agents or mask.any() else True
        if not legal.any():
            raise UsageError(
                f"{self.name}: {MASK} allows no action of {', '.join(present)}, and the episode "
                "goes on: leave one legal action of one agent, or end the episode"
            )
        # Who has left, or waits for the others, does nothing.
        legal[~legal.any(axis=1), 0] = True
        return legal

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3].

        Raises UsageError if it was made without render_mode="rgb_array".
        """
        return picture(self.name, self._envs[0].render_mode, self._envs[0].render)

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()


def _given(space: Any, action: np.ndarray) -> Any:
    """An action [...] as the agent's own space has it."""
    if hasattr(space, "n"):
        return int(space.start + min(int(action), int(space.n) - 1))
    return action[: space.shape[0]].astype(space.dtype)


def _has_mask(space: Any) -> bool:
    """Whether a space of PettingZoo is of an observation and, beside it, a mask."""
    return set(getattr(space, "spaces", ())) == {"observation", MASK}


def _unmasked(space: Any) -> Any:
    """The space of the observation without a mask."""
    return space.spaces["observation"] if _has_mask(space) else space


def _batch(rows: Sequence[Any]) -> Obs:
    """Observations of N environments as one batch."""
    return jax.tree.map(lambda *x: np.stack(x), *rows)


def _largest(found: Sequence[Any], what: str) -> Any:
    """One space for all agents: that of the largest."""
    if all(isinstance(space, spaces.Discrete) for space in found):
        return max(found, key=lambda space: space.n)
    shapes = {getattr(space, "shape", None) for space in found}
    boxes = all(isinstance(space, spaces.Box) for space in found)
    if not boxes or (len(shapes) > 1 and any(len(space.shape) != 1 for space in found)):
        described = ", ".join(sorted({spaces.describe(space) for space in found}))
        raise UsageError(
            f"{what} {described}, which cannot be padded to one space: let all agents have "
            "Discrete spaces, boxes of one axis, or boxes of one shape; what agents observe may "
            f"have {MASK} beside it, as a Dict of observation and {MASK}"
        )
    if len(shapes) == 1:
        low = np.min([space.low for space in found], axis=0)
        high = np.max([space.high for space in found], axis=0)
        return spaces.Box(low, high, found[0].shape, found[0].dtype)
    size = max(space.shape[0] for space in found)
    low, high = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for space in found:
        n = space.shape[0]
        low[:n], high[:n] = np.minimum(low[:n], space.low), np.maximum(high[:n], space.high)
    return spaces.Box(low, high, (size,), found[0].dtype)
