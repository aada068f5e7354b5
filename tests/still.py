"""An environment of any spaces in which nothing happens."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from rljax.envs import spaces
from rljax.envs.simulators import zeros


@dataclass(frozen=True)
class Still:
    """Observes zeros, rewards nothing, and never ends."""

    observation_space: Any = spaces.Discrete(3)
    action_space: Any = spaces.Discrete(2)
    name = "Still"

    def reset(self, key):
        return jnp.int32(0), zeros(self.observation_space)

    def step(self, key, state, action):
        _, obs = self.reset(key)
        return state, obs, 0.0, False, False
