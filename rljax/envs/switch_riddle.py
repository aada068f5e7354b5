"""Prisoners who have one light to tell each other who has been in a room.

>>> import rljax
>>> rljax.make("SwitchRiddle", prisoners=4).limit
10
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.types import Action, Key, Obs

NOTHING, SWITCH, TELL = range(3)


class RiddleState(NamedTuple):
    """The light, and who has been where. M are the prisoners."""

    light: jax.Array  # [] bool, whether it is on
    room: jax.Array  # [] int32, the prisoner who is in the room today
    been: jax.Array  # [M] bool, who has been there on the days before
    freed: jax.Array  # [] bool, whether somebody told, and was right
    time: jax.Array  # [] int32, days so far


@dataclass(frozen=True)
class SwitchRiddle:
    """The riddle of the prisoners and the switch.

    Each day one of the prisoners, any of them with the same probability, is led into a room with a
    light. Who is there may do nothing (0), switch the light (1), or tell that all have been in the
    room (2), which ends the episode: all are paid 1 if that is true, else -1. Nobody else can do
    anything, so the only legal action of the others is 0. After 4 x prisoners - 6 days the episode
    terminates without a reward: the days are part of the riddle, so waiting is worth nothing then.

    A prisoner observes whether he is in the room, and there whether the light is on, float32 [2].
    The global state holds all: the light, who is in the room, who has been there, and the time.

    Raises UsageError for less than two prisoners.

    Source: Foerster et al. 2016, section 6.2, https://arxiv.org/abs/1605.06676, where the light is
    a message that agents send apart from their actions. That it is switched by an action, and the
    numbers of actions, are JaxMARL's, https://arxiv.org/abs/2311.10090.
    """

    prisoners: int = 3
    name = "SwitchRiddle"
    shared_reward = True
    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(0.0, 1.0, (2,))

    def __post_init__(self) -> None:
        if not isinstance(self.prisoners, int) or self.prisoners < 2:
            raise UsageError(f"{self.name}: prisoners must be a whole number of at least 2")

    @property
    def agents(self) -> tuple[str, ...]:
        """By their numbers."""
        return tuple(f"prisoner_{i}" for i in range(self.prisoners))

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """All are one."""
        return (tuple(range(self.prisoners)),)

    @property
    def limit(self) -> int:
        """Days after which the episode ends."""
        return 4 * self.prisoners - 6

    @property
    def state_space(self) -> spaces.Box:
        """The light, who is in the room, who has been there, and the time; each from 0 to 1."""
        return spaces.Box(0.0, 1.0, (2 * self.prisoners + 2,))

    def reset(self, key: Key) -> tuple[RiddleState, Obs]:
        """The light is off, and somebody is in the room; consumes the key."""
        nobody, no = jnp.zeros(self.prisoners, bool), jnp.bool_(False)
        state = RiddleState(no, self._led(key), nobody, no, jnp.int32(0))
        return state, self._observe(state)

    def step(self, key: Key, state: RiddleState, action: Action):
        """A day; consumes the key."""
        done = action[state.room]
        been = state.been.at[state.room].set(True)
        told = done == TELL
        freed = told & jnp.all(been)
        light = state.light ^ (done == SWITCH)
        state = RiddleState(light, self._led(key), been, freed, state.time + 1)
        reward = jnp.where(told, jnp.where(freed, 1.0, -1.0), 0.0)
        over = told | (state.time >= self.limit)
        reward = jnp.tile(reward, self.prisoners)
        return state, self._observe(state), reward, over, jnp.bool_(False)

    def action_mask(self, state: RiddleState) -> jax.Array:
        """All for the prisoner in the room, and only to do nothing for the others; bool [M, 3]."""
        return self._in_room(state)[:, None] | (np.arange(3) == NOTHING)

    def global_state(self, state: RiddleState) -> jax.Array:
        """The light, who is in the room, who has been there, and the time / limit; [2 M + 2]."""
        parts = [state.light[None], self._in_room(state), state.been, state.time[None] / self.limit]
        return jnp.concatenate([part.astype(jnp.float32) for part in parts])

    def success(self, state: RiddleState) -> jax.Array:
        """Whether all are free."""
        return state.freed

    def _led(self, key: Key) -> jax.Array:
        """Who is led into the room."""
        return jax.random.randint(key, (), 0, self.prisoners)

    def _in_room(self, state: RiddleState) -> jax.Array:
        return state.room == np.arange(self.prisoners)

    def _observe(self, state: RiddleState) -> Obs:
        inside = self._in_room(state)
        return jnp.stack([inside, inside & state.light], axis=-1).astype(jnp.float32)
