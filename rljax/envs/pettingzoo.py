"""Simulators of several agents: parallel environments of PettingZoo, and of packages like it.

Importing PettingZoo happens in the functions, because most people do not need it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from rljax.envs import conversion, spaces
from rljax.envs.gymnasium import picture
from rljax.envs.simulators import HostTeam, HostTeamWithState, Steps
from rljax.errors import UsageError, check_extra
from rljax.types import Obs

PACKAGES = ("", "pettingzoo.")
"""In front of an id, which is a module with a function `parallel_env`."""


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
            return HostTeam(**described)
        return HostTeamWithState(**described, state_space=one.state_space)
    finally:
        one.close()


class ParallelLoop:
    """N parallel environments that are stepped one after the other, on the thread that asks.

    Observations of agents are padded with zeros to the largest. An agent that has left observes
    zeros and is paid 0, and what it does is not used. Of an agent with fewer actions than others,
    those beyond are its last one. An episode ends when all agents have left, and terminated if none
    of them was truncated.
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
        self.observation_space = _largest(
            [conversion.observation_space(first.observation_space(a), name) for a in self.agents],
            f"{name} observes",
        )
        self.action_space = _largest(
            [conversion.action_space(space, name) for space in self._actions], f"{name} acts in"
        )
        self.state_space = None
        if (state := getattr(first, "state_space", None)) is not None:
            self.state_space = spaces.Box(-np.inf, np.inf, (int(np.prod(state.shape)),))

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, M, ...]."""
        begun = zip(self._envs, seeds, strict=True)
        return np.stack([self._observed(env.reset(seed=int(seed))[0]) for env, seed in begun])

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, M, ...]; rewards are [N, M]."""
        last, rewards, ends, cuts = map(
            np.stack, zip(*map(self._step, self._envs, actions), strict=True)
        )
        over, obs = ends | cuts, last
        self._last_states = self.states() if self.state_space else None
        if over.any():
            obs = last.copy()
            for i in np.flatnonzero(over).tolist():
                obs[i] = self._observed(self._envs[i].reset()[0])
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
        obs, rewards, _, truncations, _ = env.step(given)
        paid = np.array([rewards.get(agent, 0.0) for agent in self.agents], np.float32)
        over, cut = not env.agents, any(truncations.values())
        return self._observed(obs), paid, np.bool_(over and not cut), np.bool_(over and cut)

    def _observed(self, seen: Mapping[str, Any]) -> np.ndarray:
        """Observations of all agents [M, ...], zeros for who is not there."""
        space = self.observation_space
        out = np.zeros((len(self.agents), *space.shape), space.dtype)
        for place, agent in enumerate(self.agents):
            if agent in seen:
                row = np.asarray(seen[agent])
                out[place][tuple(slice(size) for size in row.shape)] = row
        return out

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
            "Discrete spaces, boxes of one axis, or boxes of one shape"
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
