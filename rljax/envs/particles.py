"""Discs that move in a plane, with momentum, and push each other away: what all of MPE shares.

The equations are those of the package mpe2, which was PettingZoo's MPE: `World.step`.
Source: Lowe et al. 2017, https://arxiv.org/abs/1706.02275.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import check_positive
from rljax.types import Action, Key, Obs

MOVES = 5
"""Ways to move: not at all, left, right, down, up."""
STEP_TIME = 0.1  # seconds of a step
DAMPING = 0.25  # the part of its velocity that an agent loses in a step
CONTACT_FORCE = 100.0  # by the depth of an overlap; all masses are 1
CONTACT_MARGIN = 1e-3  # how soft the edges of discs are


class ParticleState(NamedTuple):
    """Where everything is. Entities are the agents, then the landmarks, which stand still."""

    position: jax.Array  # [E, 2] of entities, x to the right and y up
    velocity: jax.Array  # [M, 2] of agents
    time: jax.Array  # [] int32, steps of the episode so far
    goal: Any = ()  # int32, the landmark to go to: [] the same for all agents, or [M], or ()
    message: Any = ()  # float32 [S, C], what the first S agents said last, or ()


class World(NamedTuple):
    """What the entities of a scenario are."""

    sizes: np.ndarray  # [E] radii
    colliders: int = 0  # how many of them, from the first on, push each other: 0, M or E
    acceleration: Any = 5.0  # of an agent by a whole move; [] or [M, 1]
    max_speed: Any = np.inf  # of an agent; [] or [M, 1]
    area: Any = 1.0  # within this distance of the middle an entity begins, in x and y; [] or [E, 1]


@dataclass(frozen=True, kw_only=True)
class ParticleEnvironment:
    """A scenario of MPE: its world, what is observed in it, and what is rewarded.

    Discrete actions are 0 stay, 1 left, 2 right, 3 down, 4 up. Continuous ones are five numbers in
    [0, 1], how much of each of these; they are clipped. Entities begin at random places, at rest.
    Episodes are truncated after `max_cycles` steps, and never terminate.

    Raises UsageError for less than one step.
    """

    max_cycles: int = 25
    continuous_actions: bool = False
    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_positive(max_cycles=self.max_cycles)

    @property
    @abstractmethod
    def agents(self) -> tuple[str, ...]:
        """Names of the M agents."""

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """Agents that want the same."""
        return (tuple(range(len(self.agents))),)

    @property
    def shared_reward(self) -> bool:
        """Whether all agents of a team are given the same reward."""
        return True

    @property
    @abstractmethod
    def world(self) -> World:
        """What the entities are."""

    @property
    def action_space(self) -> spaces.Space:
        """Of each agent: how to move."""
        return self._actions(MOVES, MOVES)

    @cached_property
    def observation_space(self) -> spaces.Box:
        """Of each agent, with the zeros at the end."""
        _, obs = jax.eval_shape(self.reset, jax.random.key(0))
        return spaces.Box(-np.inf, np.inf, obs.shape[1:])

    @property
    def state_space(self) -> spaces.Box:
        """What all agents observe."""
        return spaces.Box(-np.inf, np.inf, (len(self.agents) * self.observation_space.shape[0],))

    def global_state(self, state: ParticleState) -> jax.Array:
        """What all agents observe, one after the other."""
        return self._observe(state).reshape(-1)

    def reset(self, key: Key) -> tuple[ParticleState, Obs]:
        """Entities at random places; consumes the key."""
        world, key_places, key_rest = self.world, *jax.random.split(key)
        places = jax.random.uniform(key_places, (len(world.sizes), 2), minval=-1.0, maxval=1.0)
        at_rest = jnp.zeros((len(self.agents), 2))
        state = ParticleState(
            places * world.area, at_rest, jnp.int32(0), self._goal(key_rest), self._silence()
        )
        return state, self._observe(state)

    def step(self, key: Key, state: ParticleState, action: Action):
        """All agents act at once; the key is not used."""
        if self.continuous_actions:
            action = jnp.clip(action, 0.0, 1.0)
        world, moves = self.world, self._moves(action)
        force = jnp.stack([moves[:, 2] - moves[:, 1], moves[:, 4] - moves[:, 3]], axis=-1)
        position, velocity = moved(world, state, force * world.acceleration)
        state = ParticleState(position, velocity, state.time + 1, state.goal, self._message(action))
        over = state.time >= self.max_cycles
        return state, self._observe(state), self._reward(state), jnp.bool_(False), over

    @abstractmethod
    def _observe(self, state: ParticleState) -> Obs:
        """What each agent sees, [M, ...]."""

    @abstractmethod
    def _reward(self, state: ParticleState) -> jax.Array:
        """What each agent is given for a step that led to `state`, [M]."""

    def _goal(self, key: Key) -> Any:
        """`ParticleState.goal` of an episode; consumes the key."""
        return ()

    def _silence(self) -> Any:
        """`ParticleState.message` before anybody has spoken."""
        return ()

    def _message(self, action: Action) -> Any:
        """`ParticleState.message` after actions [M, ...]."""
        return ()

    def _moves(self, action: Action) -> jax.Array:
        """How much of each move is made, [M, 5], by actions [M, ...]."""
        return action[:, :MOVES] if self.continuous_actions else one_hot(action % MOVES, MOVES)

    def _actions(self, discrete: int, numbers: int) -> spaces.Space:
        """So many actions, or so many numbers."""
        if self.continuous_actions:
            return spaces.Box(0.0, 1.0, (numbers,))
        return spaces.Discrete(discrete)


def moved(world: World, state: ParticleState, force: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions [E, 2] and velocities [M, 2] a step later, under the agents' own forces [M, 2]."""
    position, velocity = state.position, state.velocity
    if world.colliders:
        force = force + contact_forces(world, position, len(velocity))
    agents = position[: len(velocity)] + velocity * STEP_TIME
    velocity = velocity * (1 - DAMPING) + force * STEP_TIME
    speed = length(velocity)[:, None]
    velocity = velocity / jnp.maximum(speed / world.max_speed, 1.0)
    return jnp.concatenate([agents, position[len(velocity) :]]), velocity


# Below, tables of all by all are made row by row, and rows are added one by one, because sums over
# axes as short as these take a CPU several times as long.


def contact_forces(world: World, position: jax.Array, num_agents: int) -> jax.Array:
    """How entities at [E, 2] push the agents, [M, 2]: those that overlap, away from each other."""
    agents, sizes = position[:num_agents], world.sizes[:num_agents]
    force = jnp.zeros_like(agents)
    for other in range(world.colliders):
        away = agents - position[other]
        itself = np.arange(num_agents) == other
        distance = length(away) + itself
        depth = sizes + world.sizes[other] - distance
        overlap = jax.nn.softplus(depth / CONTACT_MARGIN) * CONTACT_MARGIN
        strength = jnp.where(itself, 0.0, CONTACT_FORCE * overlap / distance)
        force += strength[:, None] * away
    return force


def added(rows: Iterable[jax.Array]) -> jax.Array:
    """The sum of rows [...], one by one."""
    return jnp.asarray(sum(rows), jnp.float32)


def length(vector: jax.Array) -> jax.Array:
    """Of vectors [..., 2], [...]."""
    return jnp.sqrt(vector[..., 0] ** 2 + vector[..., 1] ** 2)


def touched(world: World, state: ParticleState, by: int) -> jax.Array:
    """Which agents the agent number `by` overlaps, bool [M]; itself is one."""
    agents = len(state.velocity)
    away = state.position[:agents] - state.position[by]
    return length(away) < world.sizes[:agents] + world.sizes[by]


def seen(state: ParticleState) -> jax.Array:
    """Where landmarks, then the other agents are, from each agent: [M, 2 (E - 1)]."""
    agents = state.position[: len(state.velocity)]
    return jnp.concatenate(
        [landmarks_seen(state), flat(without_itself(agents - agents[:, None]))], axis=-1
    )


def landmarks_seen(state: ParticleState) -> jax.Array:
    """Where landmarks are, from each agent: [M, 2 (E - M)]."""
    agents, landmarks = jnp.split(state.position, [len(state.velocity)])
    return flat(landmarks - agents[:, None])


def without_itself(table: jax.Array) -> jax.Array:
    """A table [M, M, ...] without its diagonal: [M, M - 1, ...]."""
    size, _, *rest = table.shape
    # Without the first, the elements of the diagonal are the last of each M + 1.
    apart = table.reshape(size * size, *rest)[1:].reshape(size - 1, size + 1, *rest)
    return apart[:, :-1].reshape(size, size - 1, *rest)


def flat(table: jax.Array) -> jax.Array:
    """[M, ...] as [M, K]."""
    return table.reshape(len(table), -1)


def padded(*observations: jax.Array) -> jax.Array:
    """Observations [m, k] of some agents each as one [M, K]; zeros stand at the end of shorter."""
    width = max(obs.shape[-1] for obs in observations)
    return jnp.concatenate(
        [jnp.pad(obs, ((0, 0), (0, width - obs.shape[-1]))) for obs in observations]
    )


def one_hot(number: jax.Array, size: int) -> jax.Array:
    """float32 [..., size]."""
    return jax.nn.one_hot(number, size, dtype=jnp.float32)
