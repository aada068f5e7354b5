"""Probe environments: seconds to solve for a correct agent, impossible with one particular fault.

Each isolates one thing that learning needs, so that what a failing agent gets wrong can be read
off the probe it fails. They have no registered names: pass an instance to any agent.

>>> import rljax
>>> from rljax.envs import probes
>>> agent = rljax.ppo(probes.Recall(), network="gru", num_envs=8, rollout_length=16)

Source of the idea: Jones 2021, "Debugging RL, Without the Agonizing Pain",
https://andyljones.com/posts/rl-debugging.html.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rljax.envs import spaces
from rljax.types import Action, EnvState, Key, Obs


@dataclass(frozen=True)
class ConstantReward:
    """Reward 1 at every step, in episodes that are cut off or that end.

    The observation is the time in the episode, and starts over where the episode is cut off. With
    discount g the value is 1 / (1 - g) at all times if the episode `truncates`, and
    (1 - g^(length - t)) / (1 - g) at time t if it terminates. An agent that takes one for the
    other is off by more than half.
    """

    length: int = 5
    truncates: bool = True
    name = "ConstantReward"
    action_space = spaces.Discrete(2)

    @property
    def observation_space(self) -> spaces.Discrete:
        """The time."""
        return spaces.Discrete(self.length)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """Time 0."""
        return jnp.int32(0), jnp.int32(0)

    def step(self, key: Key, state: EnvState, action: Action):
        """One step later, whatever the action."""
        time = state + 1
        over = time >= self.length
        truncated = over & self.truncates
        return time, time % self.length, jnp.float32(1.0), over & ~truncated, truncated


@dataclass(frozen=True)
class Ring:
    """A walk round a ring of `size` places, cut off after `limit` steps and begun anywhere.

    Reward 1 for arriving at place 0, so at distance d from it (`size` at place 0 itself) the value
    is g^(d - 1) / (1 - g^size). An agent that bootstraps from the first observation of the next
    episode, instead of the last one of the episode that was cut off, blurs all values into one.
    """

    size: int = 8
    limit: int = 2
    name = "Ring"
    action_space = spaces.Discrete(2)

    @property
    def observation_space(self) -> spaces.Discrete:
        """The place."""
        return spaces.Discrete(self.size)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A random place."""
        place = jax.random.randint(key, (), 0, self.size)
        return (place, jnp.int32(0)), place

    def step(self, key: Key, state: EnvState, action: Action):
        """One place further, whatever the action."""
        place, time = (state[0] + 1) % self.size, state[1] + 1
        reward = (place == 0).astype(jnp.float32)
        return (place, time), place, reward, jnp.bool_(False), time >= self.limit


@dataclass(frozen=True)
class ObservedReward:
    """One step, whose reward is the observation, -1 or 1: the value must depend on what is seen."""

    name = "ObservedReward"
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-1.0, 1.0, (1,))

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A random sign."""
        obs = jax.random.rademacher(key, (1,), jnp.float32)
        return obs, obs

    def step(self, key: Key, state: EnvState, action: Action):
        """The end, whatever the action."""
        return state, state, state[0], jnp.bool_(True), jnp.bool_(False)


@dataclass(frozen=True)
class MatchingAction:
    """One step, rewarded by 1 for the action that has the number of the observation.

    Chance is 1 / `choices`; so is any policy that ignores what it sees.
    """

    choices: int = 3
    name = "MatchingAction"

    @property
    def observation_space(self) -> spaces.Discrete:
        """The number to match."""
        return spaces.Discrete(self.choices)

    @property
    def action_space(self) -> spaces.Discrete:
        """As many actions as observations."""
        return spaces.Discrete(self.choices)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A random number."""
        number = jax.random.randint(key, (), 0, self.choices)
        return number, number

    def step(self, key: Key, state: EnvState, action: Action):
        """The end, with the reward."""
        reward = (action == state).astype(jnp.float32)
        return state, state, reward, jnp.bool_(True), jnp.bool_(False)


@dataclass(frozen=True)
class DelayedReward:
    """Three steps; the first action, 0 or 1, is the reward of the last step, two steps later.

    The observation is the time. Following the best policy, the values are g^2, g and 1.
    """

    name = "DelayedReward"
    action_space = spaces.Discrete(2)
    observation_space = spaces.Discrete(3)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """Time 0."""
        return (jnp.int32(0), jnp.float32(0.0)), jnp.int32(0)

    def step(self, key: Key, state: EnvState, action: Action):
        """One step later; the reward of the first action at the end."""
        time, choice = state
        choice = jnp.where(time == 0, action.astype(jnp.float32), choice)
        time = time + 1
        over = time >= 3
        reward = jnp.where(over, choice, 0.0)
        return (time, choice), jnp.minimum(time, 2), reward, over, jnp.bool_(False)


@dataclass(frozen=True)
class Recall:
    """A cue shown in the first of `length` steps, to be acted on in the last.

    Observed are the cue (-1 or 1, then 0) and whether this is the last step, whose reward is 1 for
    the action that fits the cue (0 for -1, 1 for 1) and -1 for the other. Without a carry the mean
    return is 0 whatever the policy.
    """

    length: int = 3
    name = "Recall"
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-1.0, 1.0, (2,))

    def _observe(self, time: jax.Array, cue: jax.Array) -> Obs:
        return jnp.stack([jnp.where(time == 0, cue, 0.0), 1.0 * (time == self.length - 1)])

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A random cue."""
        time, cue = jnp.int32(0), jax.random.rademacher(key, (), jnp.float32)
        return (time, cue), self._observe(time, cue)

    def step(self, key: Key, state: EnvState, action: Action):
        """One step later; the reward at the end."""
        time, cue = state
        over = time + 1 >= self.length
        reward = jnp.where(over, cue * (2.0 * action - 1.0), 0.0)
        return (time + 1, cue), self._observe(time + 1, cue), reward, over, jnp.bool_(False)


@dataclass(frozen=True)
class ContinuousTarget:
    """One step; the reward is minus the squared distance of the action from 1.5 x observation.

    Actions lie in [-2, 2], observations in [-1, 1]. The best constant action returns -0.75 on
    average, the best policy 0.
    """

    name = "ContinuousTarget"
    action_space = spaces.Box(-2.0, 2.0, (1,))
    observation_space = spaces.Box(-1.0, 1.0, (1,))

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A number in [-1, 1]."""
        obs = jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0)
        return obs, obs

    def step(self, key: Key, state: EnvState, action: Action):
        """The end, with the reward."""
        reward = -jnp.sum(jnp.square(action - 1.5 * state))
        return state, state, reward, jnp.bool_(True), jnp.bool_(False)


@dataclass(frozen=True)
class LegalActions:
    """Steps in which half of the four actions are legal: 0 and 2 at even times, 1 and 3 at odd.

    The observation is the time. Actions 0 and 1 pay 1, actions 2 and 3 nothing, and an illegal one
    10: so the best return is `length`, and a larger one betrays an agent that ignores the mask.
    """

    length: int = 3
    name = "LegalActions"
    action_space = spaces.Discrete(4)

    @property
    def observation_space(self) -> spaces.Discrete:
        """The time."""
        return spaces.Discrete(self.length)

    def action_mask(self, state: EnvState) -> jax.Array:
        """Actions of the parity of the time, bool [4]; none any more at the end."""
        return (jnp.arange(4) % 2 == state % 2) & (state < self.length)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """Time 0."""
        return jnp.int32(0), jnp.int32(0)

    def step(self, key: Key, state: EnvState, action: Action):
        """One step later, with the reward."""
        legal = self.action_mask(state)[action]
        reward = jnp.where(legal, jnp.where(action < 2, 1.0, 0.0), 10.0)
        time = state + 1
        return time, time % self.length, reward, time >= self.length, jnp.bool_(False)


@dataclass(frozen=True)
class Signals:
    """Two agents, each with a cue of its own, -1 or 1, in each of `length` steps.

    Action 1 is for cue 1 and action 0 for cue -1. Where both are right, the first is paid 1 and the
    second 2. So the best return of the team is 3 x `length`, and random actions return a quarter of
    it. The global state is both cues and the time.
    """

    length: int = 3
    name = "Signals"
    agents = ("left", "right")
    teams = ((0, 1),)
    shared_reward = False
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-1.0, 1.0, (1,))

    @property
    def state_space(self) -> spaces.Box:
        """Both cues and the time."""
        return spaces.Box(-1.0, self.length, (3,))

    def global_state(self, state: EnvState) -> jax.Array:
        """Both cues and the time, float32 [3]."""
        time, cues = state
        return jnp.append(cues, 1.0 * time)

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """Random cues, float32 [2]."""
        cues = jax.random.rademacher(key, (2,), jnp.float32)
        return (jnp.int32(0), cues), cues[:, None]

    def step(self, key: Key, state: EnvState, action: Action):
        """Other cues, and rewards [2]."""
        time, cues = state
        right = jnp.all((2.0 * action - 1.0) == cues)
        reward = jnp.where(right, jnp.array([1.0, 2.0]), 0.0)
        (_, cues), obs = self.reset(key)
        over = time + 1 >= self.length
        return (time + 1, cues), obs, reward, over, jnp.bool_(False)
