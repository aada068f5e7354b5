"""Tasks of jumanji in which several agents act at once, written in JAX.

Importing jumanji happens in the functions, because most people do not need it.
"""

from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import check_parameters, spaces
from rljax.errors import UsageError, check_extra, check_known
from rljax.types import Action, Key, Obs


class Played(NamedTuple):
    """A state of jumanji, and what it shows of it."""

    state: Any
    seen: Any


@dataclass(frozen=True)
class JumanjiTask:
    """A task of jumanji behind rljax's protocol. A time limit truncates.

    An agent observes what it alone is told, and behind it what all are told, along the last axis.
    The global state is what each of them is told, one after the other, and once what all are told.
    """

    name: str
    env: Any
    shared_reward: ClassVar[bool] = True
    reset_is_costly: ClassVar[bool] = True

    @cached_property
    def _shapes(self) -> tuple[Played, jax.ShapeDtypeStruct]:
        return jax.eval_shape(self.reset, jax.random.key(0))

    @property
    def agents(self) -> tuple[str, ...]:
        """By their numbers."""
        return tuple(f"agent_{i}" for i in range(self._shapes[1].shape[0]))

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """All are one."""
        return (tuple(range(len(self.agents))),)

    @property
    def observation_space(self) -> spaces.Box:
        """Of one agent."""
        _, *shape = self._shapes[1].shape
        dtype = self._shapes[1].dtype
        low, high = (0, 1) if dtype == np.bool_ else (-np.inf, np.inf)
        return spaces.Box(low, high, tuple(shape), dtype)

    @property
    def action_space(self) -> spaces.Discrete:
        """Of one agent."""
        return spaces.Discrete(self._shapes[0].seen.action_mask.shape[-1])

    @cached_property
    def state_space(self) -> spaces.Box:
        """Of the global state [G]."""
        shape = jax.eval_shape(self.global_state, self._shapes[0]).shape
        return spaces.Box(-np.inf, np.inf, shape)

    def reset(self, key: Key) -> tuple[Played, Obs]:
        """A fresh episode; consumes the key."""
        state, first = self.env.reset(key)
        begun = Played(state, first.observation)
        return begun, self._observed(begun)

    def step(self, key: Key, state: Played, action: Action):
        """State, obs [M, ...], reward [M], terminated, truncated; jumanji's states have the key."""
        after, given = self.env.step(state.state, action)
        new = Played(after, given.observation)
        terminated = given.last() & self._decided(state, action, new)
        reward = jnp.broadcast_to(given.reward, action.shape).astype(jnp.float32)
        return new, self._observed(new), reward, terminated, given.last() & ~terminated

    def action_mask(self, state: Played) -> jax.Array:
        """Jumanji's own, bool [M, A]."""
        return state.seen.action_mask

    def global_state(self, state: Played) -> jax.Array:
        """All that is told, float32 [G]."""
        told = [jnp.ravel(x).astype(jnp.float32) for x in self._told(state)]
        return jnp.concatenate(told)

    def _observed(self, state: Played) -> Obs:
        own, shared = self._told(state)
        shared = jnp.broadcast_to(shared, (len(own), *shared.shape))
        return jnp.concatenate([own, shared], axis=-1)

    def _told(self, state: Played) -> tuple[jax.Array, jax.Array]:
        """What each agent is told alone [M, ..., K], and what all are [..., K]."""
        # Views that are images have their channels first.
        view = jnp.moveaxis(state.seen.agents_view, 1, -1)
        return view, jnp.zeros((*view.shape[1:-1], 0), view.dtype)

    def _decided(self, before: Played, action: Action, after: Played) -> jax.Array:
        """Whether an episode that has ended did so for another reason than its time."""
        raise NotImplementedError


@dataclass(frozen=True)
class Foraging(JumanjiTask):
    """Level-based foraging, in which agents are paid for the food that they load."""

    shared_reward: ClassVar[bool] = False

    def success(self, state: Played) -> jax.Array:
        """Whether all food is eaten."""
        return jnp.all(state.state.food_items.eaten)

    def _decided(self, before: Played, action: Action, after: Played) -> jax.Array:
        return self.success(after)


@dataclass(frozen=True)
class Warehouse(JumanjiTask):
    """Robots who bring shelves to where they are asked for; two that collide end the episode."""

    def _decided(self, before: Played, action: Action, after: Played) -> jax.Array:
        from jumanji.environments.routing.robot_warehouse.utils import is_collision

        each: Any = jax.vmap(is_collision, (None, 0, 0))
        return jnp.any(each(after.state.grid, after.state.agents, self._ids))

    @property
    def _ids(self) -> jax.Array:
        return jnp.arange(len(self.agents))


@dataclass(frozen=True)
class Cleaner(JumanjiTask):
    """A maze to clean. An agent is told where it is, and all which cells are dirty and walls, and
    where somebody is. An illegal action ends the episode."""

    def success(self, state: Played) -> jax.Array:
        """Whether no cell is dirty."""
        return ~jnp.any(state.seen.grid == 0)

    def _told(self, state: Played) -> tuple[jax.Array, jax.Array]:
        grid, places = state.seen.grid, state.seen.agents_locations
        place = jax.vmap(lambda at: jnp.zeros(grid.shape, bool).at[at[0], at[1]].set(True))(places)
        return place[..., None], jnp.stack([grid == 0, grid == 2, place.any(axis=0)], axis=-1)

    def _decided(self, before: Played, action: Action, after: Played) -> jax.Array:
        legal = jnp.take_along_axis(self.action_mask(before), action[:, None], axis=1)
        return self.success(after) | ~jnp.all(legal)


@dataclass(frozen=True)
class Connector(JumanjiTask):
    """Paths that must reach their targets and never cross. An agent is told where its path, its
    head and its target are, and all where those of anybody are."""

    shared_reward: ClassVar[bool] = False

    def success(self, state: Played) -> jax.Array:
        """Whether all have reached their targets."""
        return jnp.all(state.state.agents.connected)

    def _told(self, state: Played) -> tuple[jax.Array, jax.Array]:
        # In jumanji's grid, 1 + 3i, 2 + 3i and 3 + 3i are path, head and target of agent i.
        first = 1 + 3 * np.arange(len(state.seen.action_mask))[:, None, None, None]
        own = state.seen.grid[..., None] == first + np.arange(3)
        return own, own.any(axis=0)

    def _decided(self, before: Played, action: Action, after: Played) -> jax.Array:
        # Action 0, which does nothing, is left to who has arrived or is shut in.
        return ~jnp.any(self.action_mask(after)[:, 1:])


TASKS = {
    "Cleaner-v0": Cleaner,
    "Connector-v3": Connector,
    "LevelBasedForaging-v0": Foraging,
    "RobotWarehouse-v0": Warehouse,
}
"""Those in which agents act at once, choose from a few actions and see arrays."""


def make(id: str, **params: Any) -> JumanjiTask:
    """The task of several agents that jumanji has registered as `id`.

    Args:
        id: one of `TASKS`.
        params: those of its class, such as `time_limit`, and those of its generator, such as
            `num_agents`.

    Raises UsageError for an id or a parameter that is not there, and for what jumanji refuses.
    """
    name = f"jumanji/{id}"
    check_extra(name, "jumanji", "jumanji")
    check_known("env", name, [f"jumanji/{known}" for known in TASKS])
    import jumanji

    env: Any = jumanji.make(id)
    generator = getattr(env, "generator", None) or env._generator
    known = signature(type(generator)).parameters
    check_parameters(name, params, [*signature(type(env)).parameters, *known])
    chosen = {key: params.pop(key) for key in list(params) if key in known}
    try:
        if chosen:
            as_it_is = {key: getattr(generator, key) for key in known if hasattr(generator, key)}
            params["generator"] = type(generator)(**{**as_it_is, **chosen})
        return TASKS[id](name, jumanji.make(id, **params) if params else env)
    except (AssertionError, TypeError, ValueError) as error:
        given = ", ".join([*chosen, *params])
        raise UsageError(f"{name} cannot be made with {given}: {error}") from error
