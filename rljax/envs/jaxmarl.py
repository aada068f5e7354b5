"""Environments of JaxMARL: agents that act at once, written in JAX.

Importing JaxMARL happens in the functions, because most people do not need it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from io import StringIO
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import check_parameters, gymnax, spaces
from rljax.errors import UsageError, check_extra, check_known
from rljax.types import Action, EnvState, Key, Obs

BATTLES = ("SMAX", "HeuristicEnemySMAX")
"""Those that end because a side is destroyed, or by a time limit."""
KITCHENS = ("overcooked", "overcooked_v2")
"""Those in which all are paid together, and only time ends an episode, as in "MPE_..."."""
OPPONENTS = ("adversary", "leadadversary", "enemy", "eve")
"""How names of agents begin that are a team of their own."""


@dataclass(frozen=True)
class JaxMARLEnvironment:
    """An environment of JaxMARL behind rljax's protocol, without its automatic reset.

    Observations of agents are padded with zeros to the largest, and a mask forbids what an agent
    with fewer actions than others cannot do. The global state is JaxMARL's own, or else the
    observations of all agents, one after the other. A time limit truncates.
    """

    name: str
    env: Any

    @property
    def agents(self) -> tuple[str, ...]:
        """As JaxMARL calls them."""
        return tuple(self.env.agents)

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """Those that are called opponents, if there are any, and all others."""
        against = [agent.startswith(OPPONENTS) for agent in self.agents]
        sides = [tuple(np.flatnonzero(np.array(against) == side).tolist()) for side in (0, 1)]
        return tuple(side for side in sides if side)

    @property
    def shared_reward(self) -> bool:
        """In kitchens and battles."""
        return self.name.removeprefix("jaxmarl/") in (*BATTLES, *KITCHENS)

    @cached_property
    def observation_space(self) -> spaces.Box:
        """The largest of an agent."""
        found = jax.eval_shape(self.env.reset, jax.random.key(0))[0]
        shapes = [found[agent].shape for agent in self.agents]
        dtype = found[self.agents[0]].dtype
        return spaces.Box(-np.inf, np.inf, tuple(map(max, zip(*shapes, strict=True))), dtype)

    @cached_property
    def _actions(self) -> list[Any]:
        return [gymnax.convert(self.env.action_space(agent)) for agent in self.agents]

    @cached_property
    def action_space(self) -> Any:
        """That of the agent with the most actions.

        Raises UsageError for actions of a Box that differ between agents.
        """
        first = self._actions[0]
        if isinstance(first, spaces.Discrete):
            return spaces.Discrete(max(space.n for space in self._actions))
        if any(space.shape != first.shape for space in self._actions):
            raise UsageError(
                f"{self.name}: actions of a Box must be alike for all agents: make it with "
                "discrete actions"
            )
        return first

    @cached_property
    def state_space(self) -> spaces.Box:
        """Of the global state [G]."""
        shape = jax.eval_shape(lambda key: self.global_state(self.reset(key)[0]), jax.random.key(0))
        return spaces.Box(-np.inf, np.inf, shape.shape)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        obs, state = self.env.reset(key)
        return state, self._observed(obs)

    def step(self, key: Key, state: EnvState, action: Action):
        """State, obs [M, ...], reward [M], terminated, truncated; consumes the key."""
        given = {
            agent: jnp.minimum(action[i], space.n - 1)
            if isinstance(space, spaces.Discrete)
            else action[i]
            for i, (agent, space) in enumerate(zip(self.agents, self._actions, strict=True))
        }
        obs, state, rewards, dones, _ = self.env.step_env(key, state, given)
        over = jnp.asarray(dones["__all__"], bool)
        terminated = over & self._decided(state)
        paid = jnp.stack([rewards[agent] for agent in self.agents]).astype(jnp.float32)
        return state, self._observed(obs), paid, terminated, over & ~terminated

    def _decided(self, state: EnvState) -> jax.Array:
        """Whether the task has ended, and not only the time."""
        return jnp.bool_(False)

    def _observed(self, obs: dict[str, jax.Array]) -> jax.Array:
        return _stacked([obs[agent] for agent in self.agents], self.observation_space.shape)

    def global_state(self, state: EnvState) -> jax.Array:
        """What a central critic sees, float32 [G]."""
        seen = self.env.get_obs(state)
        return jnp.concatenate([jnp.ravel(seen[agent]) for agent in self.agents], dtype=jnp.float32)


@dataclass(frozen=True)
class Unequal(JaxMARLEnvironment):
    """One whose agents have different numbers of actions."""

    def action_mask(self, state: EnvState) -> jax.Array:
        """Those that an agent has, bool [M, A]."""
        counts = np.array([[space.n] for space in self._actions])
        return jnp.asarray(np.arange(self.action_space.n) < counts)


@dataclass(frozen=True)
class Battle(JaxMARLEnvironment):
    """A battle of SMAX: units that walk, and shoot at those of the other side.

    Who is dead observes zeros and has one legal action, which stops.
    """

    def _units(self, state: EnvState) -> Any:
        return state if self.name == "jaxmarl/SMAX" else state.state

    def _sides(self, state: EnvState) -> tuple[jax.Array, jax.Array]:
        """Whether anybody of the allies, and of the enemies, is alive."""
        alive = self._units(state).unit_alive
        allies = self.env.num_allies
        return jnp.any(alive[:allies]), jnp.any(alive[allies:])

    def _decided(self, state: EnvState) -> jax.Array:
        allies, enemies = self._sides(state)
        return ~(allies & enemies)

    def success(self, state: EnvState) -> jax.Array:
        """Whether the allies have won."""
        allies, enemies = self._sides(state)
        return allies & ~enemies

    def action_mask(self, state: EnvState) -> jax.Array:
        """What is in reach, and where to walk, bool [M, A]."""
        legal = self.env.get_avail_actions(state)
        rows = [legal[agent].astype(bool) for agent in self.agents]
        return _stacked(rows, (self.action_space.n,))

    def global_state(self, state: EnvState) -> jax.Array:
        """All units, float32 [G]."""
        return jnp.asarray(self.env.get_world_state(state), jnp.float32)


def _stacked(rows: list[jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """Arrays of all agents [M, *shape], with zeros where one is smaller."""

    def widened(row: jax.Array) -> jax.Array:
        return jnp.pad(row, [(0, due - size) for due, size in zip(shape, row.shape, strict=True)])

    return jnp.stack([widened(row) for row in rows])


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what is printed by the import of JaxMARL from people, and their streams as they were.

    JaxMARL says which of its parts are not installed, and on the way puts `sys.__stdout__` in the
    place of whatever `sys.stdout` was.
    """
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr", "__stdout__")}
    for name in ("stdout", "__stdout__"):
        setattr(sys, name, StringIO())
    try:
        yield
    finally:
        for name, stream in streams.items():
            setattr(sys, name, stream)


def make(id: str, **params: Any) -> JaxMARLEnvironment:
    """The environment that JaxMARL has registered as `id`.

    Args:
        id: such as "MPE_simple_spread_v3" or "HeuristicEnemySMAX".
        params: those of its class; `scenario` of a battle may be a name, such as "3s5z".

    Raises UsageError for an id or a parameter that JaxMARL does not have, and for environments of
    which it is not known here how their episodes end.
    """
    name = f"jaxmarl/{id}"
    check_extra(name, "multiagent", "jaxmarl")
    with _silent():
        import jaxmarl

    known = [known for known in jaxmarl.registered_envs if known.startswith("MPE_")]
    check_known("env", name, [f"jaxmarl/{known}" for known in (*known, *BATTLES, *KITCHENS)])
    if isinstance(scenario := params.get("scenario"), str):
        from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO

        check_known(f"{name}: scenario", scenario, MAP_NAME_TO_SCENARIO)
        params["scenario"] = MAP_NAME_TO_SCENARIO[scenario]
    try:
        env = jaxmarl.make(id, **params)
    except TypeError as error:
        raise UsageError(f"{name} cannot be made with {', '.join(params)}: {error}") from error
    # Some take any name, and do nothing with it.
    kinds = [kind for of in (env, getattr(env, "_env", env)) for kind in type(of).__mro__]
    check_parameters(name, params, {arg for kind in kinds for arg in signature(kind).parameters})
    if id in BATTLES:
        return Battle(name, env)
    sizes = {getattr(env.action_space(agent), "n", None) for agent in env.agents}
    return Unequal(name, env) if len(sizes) > 1 else JaxMARLEnvironment(name, env)
