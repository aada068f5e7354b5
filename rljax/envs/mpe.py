"""The multi-agent particle environments (MPE), as the package mpe2 has them.

>>> import rljax
>>> rljax.make("SimpleSpread-MPE").observation_space
Box(low=..., high=..., shape=(18,), dtype=<class 'numpy.float32'>)

Without mpe2's options for partial observation, curricula and early ends.
Source: Lowe et al. 2017, https://arxiv.org/abs/1706.02275; https://mpe2.farama.org.
"""

from dataclasses import dataclass
from functools import cached_property, reduce

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.envs.particles import (
    MOVES,
    ParticleEnvironment,
    ParticleState,
    World,
    added,
    flat,
    landmarks_seen,
    length,
    one_hot,
    padded,
    seen,
    touched,
    without_itself,
)
from rljax.errors import UsageError, check_count, check_positive
from rljax.types import Action, Key, Obs


@dataclass(frozen=True, kw_only=True)
class Simple(ParticleEnvironment):
    """One agent goes to a landmark.

    Observed are its velocity and where the landmark is. The reward is minus the square of the
    distance.
    """

    name = "Simple-MPE"
    agents = ("agent_0",)

    @cached_property
    def world(self) -> World:
        """An agent and a landmark."""
        return World(np.full(2, 0.05))

    def _observe(self, state: ParticleState) -> Obs:
        return jnp.concatenate([state.velocity, landmarks_seen(state)], axis=-1)

    def _reward(self, state: ParticleState) -> jax.Array:
        return -(length(landmarks_seen(state)) ** 2)


@dataclass(frozen=True, kw_only=True)
class SimpleSpread(ParticleEnvironment):
    """N agents cover N landmarks and avoid each other.

    Each observes its velocity and place, where the landmarks and the other agents are, and two
    zeros for each of these, who say nothing. The reward of all is minus the distances of landmarks
    to the nearest agents, that of each is -1 for each other it touches; `local_ratio` is the weight
    of the second, and 1 - `local_ratio` that of the first.

    Raises UsageError for less than one agent, or a ratio outside [0, 1].
    """

    N: int = 3
    local_ratio: float = 0.5
    name = "SimpleSpread-MPE"
    shared_reward = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(N=self.N)
        check_ratio(self.local_ratio)

    @property
    def agents(self) -> tuple[str, ...]:
        """N of them."""
        return numbered("agent", self.N)

    @cached_property
    def world(self) -> World:
        """Agents that push each other, and landmarks that do not."""
        return World(np.repeat([0.15, 0.05], self.N), colliders=self.N)

    def _observe(self, state: ParticleState) -> Obs:
        own = jnp.concatenate([state.velocity, state.position[: self.N]], axis=-1)
        unsaid = jnp.zeros((self.N, 2 * (self.N - 1)))
        return jnp.concatenate([own, seen(state), unsaid], axis=-1)

    def _reward(self, state: ParticleState) -> jax.Array:
        agents, landmarks = jnp.split(state.position, 2)
        nearest = reduce(jnp.minimum, [length(landmarks - agent) for agent in agents])
        ours = -added(nearest)
        mine = 1.0 - added(touched(self.world, state, agent) for agent in range(self.N))
        return ours * (1 - self.local_ratio) + mine * self.local_ratio


@dataclass(frozen=True, kw_only=True)
class SimpleReference(ParticleEnvironment):
    """Two agents tell each other which of three landmarks to go to.

    Each observes its velocity, where the landmarks are, the colour of the other's landmark, and
    what the other said last. Of 50 actions, number 5 w + m is to move m and to say the word w;
    of 15 numbers, the last ten are what is said. An agent's own reward is minus the distance of the
    other to its landmark, that of both the mean of the two; `local_ratio` is the weight of the
    first, and 1 - `local_ratio` that of the second.

    Raises UsageError for a ratio outside [0, 1].
    """

    local_ratio: float = 0.5
    name = "SimpleReference-MPE"
    agents = ("agent_0", "agent_1")
    shared_reward = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ratio(self.local_ratio)

    @cached_property
    def world(self) -> World:
        """Two agents and three landmarks."""
        return World(np.full(5, 0.05))

    @property
    def action_space(self) -> spaces.Space:
        """How to move and what to say."""
        return self._actions(MOVES * WORDS, MOVES + WORDS)

    def _goal(self, key: Key) -> jax.Array:
        return jax.random.randint(key, (2,), 0, 3)

    def _silence(self) -> jax.Array:
        return jnp.zeros((2, WORDS))

    def _message(self, action: Action) -> jax.Array:
        return action[:, MOVES:] if self.continuous_actions else one_hot(action // MOVES, WORDS)

    def _observe(self, state: ParticleState) -> Obs:
        colour = colour_of(state.goal[::-1], 0.25, 0.75)
        heard = state.message[::-1]
        return jnp.concatenate([state.velocity, landmarks_seen(state), colour, heard], axis=-1)

    def _reward(self, state: ParticleState) -> jax.Array:
        agents, landmarks = jnp.split(state.position, [2])
        distance = length(agents - landmarks[state.goal])
        ours, mine = -jnp.mean(distance), -distance[::-1]
        return ours * (1 - self.local_ratio) + mine * self.local_ratio


WORDS = 10
"""How many there are in simple_reference."""


@dataclass(frozen=True, kw_only=True)
class ContinuousSpeakerListener(ParticleEnvironment):
    """A speaker tells a listener which of three landmarks to go to.

    The speaker stands still and observes the colour of that landmark. The listener observes its
    velocity, where the landmarks are, and what the speaker said last. The speaker's actions are its
    three words. The reward of both is minus the square of the listener's distance to the landmark.
    """

    name = "SimpleSpeakerListener-MPE"
    agents = ("speaker_0", "listener_0")

    @cached_property
    def world(self) -> World:
        """A speaker, a listener and three landmarks."""
        return World(np.repeat([0.075, 0.04], [2, 3]), acceleration=np.array([[0.0], [5.0]]))

    def _goal(self, key: Key) -> jax.Array:
        return jax.random.randint(key, (), 0, 3)

    def _silence(self) -> jax.Array:
        return jnp.zeros((1, 3))

    def _message(self, action: Action) -> jax.Array:
        return action[:1, :3] if self.continuous_actions else one_hot(action[:1], 3)

    def _observe(self, state: ParticleState) -> Obs:
        places = landmarks_seen(state)[1:]
        listener = jnp.concatenate([state.velocity[1:], places, state.message], axis=-1)
        return padded(colour_of(state.goal[None], 0.15, 0.65), listener)

    def _reward(self, state: ParticleState) -> jax.Array:
        away = state.position[1] - state.position[2 + state.goal]
        return -jnp.broadcast_to(length(away) ** 2, 2)


class SpeakerListener(ContinuousSpeakerListener):
    """The same, with five actions, of which the speaker has three."""

    def action_mask(self, state: ParticleState) -> jax.Array:
        """The speaker's words and the listener's moves, bool [2, 5]."""
        return jnp.array([[True] * 3 + [False] * 2, [True] * MOVES])


def speaker_listener(
    max_cycles: int = 25, continuous_actions: bool = False
) -> ContinuousSpeakerListener:
    """Of discrete actions, the speaker has fewer: a mask says so."""
    kind = ContinuousSpeakerListener if continuous_actions else SpeakerListener
    return kind(max_cycles=max_cycles, continuous_actions=continuous_actions)


@dataclass(frozen=True, kw_only=True)
class SimpleAdversary(ParticleEnvironment):
    """N agents hide from an adversary to which of N landmarks they want to go.

    Each agent observes where that landmark is, where all landmarks and the others are; the
    adversary observes the same but the first. The reward of the adversary is minus its distance to
    that landmark, that of agents its distance minus that of the nearest agent.

    Raises UsageError for less than one agent.
    """

    N: int = 2
    name = "SimpleAdversary-MPE"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(N=self.N)

    @property
    def agents(self) -> tuple[str, ...]:
        """The adversary, and N others."""
        return "adversary_0", *numbered("agent", self.N)

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """The adversary, and all others."""
        return (0,), tuple(range(1, self.N + 1))

    @cached_property
    def world(self) -> World:
        """An adversary, N agents and N landmarks."""
        return World(np.repeat([0.15, 0.08], [self.N + 1, self.N]))

    def _goal(self, key: Key) -> jax.Array:
        return jax.random.randint(key, (), 0, self.N)

    def _observe(self, state: ParticleState) -> Obs:
        where, agents = seen(state), state.position[1 : self.N + 1]
        goal = state.position[self.N + 1 + state.goal] - agents
        return padded(where[:1], jnp.concatenate([goal, where[1:]], axis=-1))

    def _reward(self, state: ParticleState) -> jax.Array:
        agents, landmarks = jnp.split(state.position, [self.N + 1])
        adversary, *others = length(agents - landmarks[state.goal])
        good = adversary - reduce(jnp.minimum, others)
        return jnp.stack([-adversary] + [good] * self.N)


@dataclass(frozen=True, kw_only=True)
class SimpleTag(ParticleEnvironment):
    """Slow adversaries hunt fast agents between obstacles.

    Each observes its velocity and place, where the obstacles and all others are, and the velocities
    of the other agents that are hunted. All adversaries are given 10 for each pair of an adversary
    and an agent that touch; an agent -10 for each adversary that touches it, and a penalty outside
    of the area, by its place: see `beyond`.

    With one agent that is hunted, each team shares its reward. With more, none counts as shared,
    because that of these is one's own.

    Raises UsageError for less than one agent or adversary, or a negative number of obstacles.
    """

    num_good: int = 1
    num_adversaries: int = 3
    num_obstacles: int = 2
    name = "SimpleTag-MPE"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(num_good=self.num_good, num_adversaries=self.num_adversaries)
        check_count(num_obstacles=self.num_obstacles)

    @property
    def agents(self) -> tuple[str, ...]:
        """The adversaries, then those that are hunted."""
        return (*numbered("adversary", self.num_adversaries), *numbered("agent", self.num_good))

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """Those who hunt, and those who are hunted."""
        everybody = tuple(range(len(self.agents)))
        return everybody[: self.num_adversaries], everybody[self.num_adversaries :]

    @property
    def shared_reward(self) -> bool:
        """Whether one agent is hunted."""
        return self.num_good == 1

    @cached_property
    def world(self) -> World:
        """Adversaries, agents and obstacles, all of which push each other."""
        kinds = [self.num_adversaries, self.num_good, self.num_obstacles]
        return World(
            sizes=np.repeat([0.075, 0.05, 0.2], kinds),
            colliders=sum(kinds),
            acceleration=np.repeat([3.0, 4.0], kinds[:2])[:, None],
            max_speed=np.repeat([1.0, 1.3], kinds[:2])[:, None],
            area=np.repeat([1.0, 1.0, 0.9], kinds)[:, None],
        )

    def _observe(self, state: ParticleState) -> Obs:
        hunters, good = self.num_adversaries, self.num_good
        agents = len(state.velocity)
        own = jnp.concatenate([state.velocity, state.position[:agents], seen(state)], axis=-1)
        velocities = jnp.broadcast_to(state.velocity[hunters:], (agents, good, 2))
        others = flat(without_itself(velocities[hunters:]))
        return padded(
            jnp.concatenate([own[:hunters], flat(velocities[:hunters])], axis=-1),
            jnp.concatenate([own[hunters:], others], axis=-1),
        )

    def _reward(self, state: ParticleState) -> jax.Array:
        hunters, agents = self.num_adversaries, len(state.velocity)
        caught = 10.0 * added(touched(self.world, state, by)[hunters:] for by in range(hunters))
        outside = added(beyond(jnp.abs(state.position[hunters:agents])).T)
        return jnp.concatenate([jnp.full(hunters, added(caught)), -caught - outside])


def beyond(place: jax.Array) -> jax.Array:
    """The penalty for being at this distance from the middle: none below 0.9, then growing."""
    outside = jnp.minimum(jnp.exp(2 * place - 2), 10.0)
    return jnp.where(place < 0.9, 0.0, jnp.where(place < 1.0, (place - 0.9) * 10, outside))


def colour_of(landmark: jax.Array, dark: float, bright: float) -> jax.Array:
    """The colours [..., 3] of landmarks by their numbers: red, green or blue."""
    return dark + (bright - dark) * one_hot(landmark, 3)


def numbered(kind: str, count: int) -> tuple[str, ...]:
    """Names of so many agents."""
    return tuple(f"{kind}_{i}" for i in range(count))


def check_ratio(local_ratio: float) -> None:
    """Refuse what is no weight."""
    if not 0 <= local_ratio <= 1:
        raise UsageError(f"local_ratio must be between 0 and 1, not {local_ratio!r}")
