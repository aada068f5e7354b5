"""Environments of the host: what a simulator that is not written in JAX must offer.

An environment written in JAX is stepped inside the program that learns. A simulator in Python or
C++ is stepped outside it, N environments at a time, by an actor (`rljax.distributed`), which hands
the experience to `Agent.learn`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.agents import stacked
from rljax.errors import UsageError
from rljax.types import Action, Key, Obs


class Steps(NamedTuple):
    """What one step of N environments led to; NumPy arrays, the actor's to keep."""

    obs: Obs  # [N, ...] what to act on next: of the next episode, where one ended
    reward: np.ndarray  # [N] float32, what is learnt from (clipped, say)
    terminated: np.ndarray  # [N] bool: never bootstraps
    truncated: np.ndarray  # [N] bool: bootstraps from next_obs
    next_obs: Obs  # [N, ...] before any automatic reset
    score: np.ndarray  # [N] float32, the reward that counts in the return that is reported
    over: np.ndarray  # [N] bool: the episode that is reported ended (a whole game, not one life)


class Simulator(Protocol):
    """N environments that step together, and reset by themselves when an episode ends."""

    num_envs: int

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, ...]."""
        ...

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, ...]."""
        ...

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3]."""
        ...

    def close(self) -> None:
        """End it, and the processes and threads that it has."""
        ...


@dataclass(frozen=True)
class HostEnvironment:
    """A description of a simulator: enough to build an agent for it, and to make it.

    It has the members of `rljax.types.Environment`, so that agents can be traced, but they know
    shapes alone.
    """

    name: str
    observation_space: spaces.Space
    action_space: spaces.Space
    simulator: Callable[[int], Simulator]
    """How many environments, to a simulator of them. Ray pickles this function."""

    def reset(self, key: Key) -> tuple[tuple, Obs]:
        """Zeros in the shape of an observation; the key is not used."""
        return (), zeros(self.observation_space)

    def step(self, key: Key, state: tuple, action: Action):
        """Zeros in the shape of a step. Only for tracing."""
        nothing = jnp.zeros((), bool)
        return (), self.reset(key)[1], jnp.zeros(()), nothing, nothing


@dataclass(frozen=True)
class HostTeam(HostEnvironment):
    """A simulator of M agents: observations and actions are [N, M, ...], rewards [N, M]."""

    agents: tuple[str, ...]
    teams: tuple[tuple[int, ...], ...]
    shared_reward: bool = False

    def reset(self, key: Key) -> tuple[tuple, Obs]:
        """Zeros in the shape of the observations; the key is not used."""
        return (), zeros(stacked(self.observation_space, (len(self.agents),)))

    def step(self, key: Key, state: tuple, action: Action):
        """Zeros in the shape of a step. Only for tracing."""
        _, obs, _, *ends = super().step(key, state, action)
        return (), obs, jnp.zeros(len(self.agents)), *ends


@dataclass(frozen=True)
class HostTeamWithState(HostTeam):
    """A simulator of M agents that has a global state [G]."""

    state_space: Any = None

    def global_state(self, state: tuple) -> jax.Array:
        """Zeros in the shape of a state. Only for tracing."""
        return zeros(self.state_space)


@dataclass(frozen=True)
class MaskedHostTeam(HostTeam):
    """A simulator of M agents whose observations are `MaskedObs`, with masks [N, M, A]."""

    def action_mask(self, state: tuple) -> jax.Array:
        """All actions, bool [M, A]. Only for tracing."""
        return jnp.ones((len(self.agents), self.action_space.n), bool)  # type: ignore[union-attr]


@dataclass(frozen=True)
class MaskedHostTeamWithState(MaskedHostTeam, HostTeamWithState):
    """A simulator of M agents that has masks of actions and a global state."""


class Described(Simulator, Protocol):
    """A simulator that also says what it gives and takes."""

    @property
    def observation_space(self) -> spaces.Space:
        """Of one environment."""
        ...

    @property
    def action_space(self) -> spaces.Space:
        """Of one environment."""
        ...


def described(name: str, simulator: Callable[[int], Described]) -> HostEnvironment:
    """Make one environment to learn its spaces, and close it."""
    one = simulator(1)
    try:
        return HostEnvironment(name, one.observation_space, one.action_space, simulator)
    finally:
        one.close()


def zeros(space: spaces.Space) -> Any:
    """An observation of zeros."""
    if isinstance(space, spaces.Dict):
        return {name: zeros(child) for name, child in space.spaces.items()}
    return jnp.zeros(space.shape, space.dtype)


def refuse_to_step(env: HostEnvironment) -> Callable[[Any], NoReturn]:
    """A step that says what to do instead of stepping a simulator inside a compiled program."""

    def step(state: Any) -> NoReturn:
        raise UsageError(
            f"{env.name} is a simulator of the host, which a compiled program cannot step: train "
            "with rljax.train(agent, key), whose actors step it"
        )

    return step


def on_host(env: Any) -> TypeGuard[HostEnvironment]:
    """Whether actors step it, and not the program that learns."""
    return isinstance(env, HostEnvironment)
