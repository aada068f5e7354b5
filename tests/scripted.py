"""Environments of Gymnasium in which every number is known: `scripted:Scripted-v0`."""

import gymnasium
import numpy as np
from gymnasium import spaces

LENGTHS = (2, 3, 4)  # steps of the first three episodes, and so on in turns


class Scripted(gymnasium.Env):
    """Observes (seed, episode, time) in one array that it writes again and again.

    The first episode is terminated, the second truncated, the third both. The reward is the action
    plus 10 times the time.
    """

    metadata = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Box(0, 1000, (3,), np.float64)
    action_space = spaces.Discrete(4)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.obs = np.zeros(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is None:
            self.obs[1:] = self.obs[1] + 1, 0
        else:
            self.obs[:] = seed, 0, 0
        return self.obs, {}

    def step(self, action):
        self.obs[2] += 1
        _, episode, time = self.obs
        kind = int(episode) % 3
        ends = time == LENGTHS[kind]
        return self.obs, 10 * time + action, ends and kind != 1, ends and kind != 0, {}

    def render(self):
        return np.full((8, 8, 3), 10 * self.obs[2], np.uint8)


class Copying(Scripted):
    """Gives an array of its own each time, as Gymnasium's vector environments need."""

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return obs.copy(), info

    def step(self, action):
        obs, *rest = super().step(action)
        return obs.copy(), *rest


gymnasium.register("Scripted-v0", "scripted:Scripted")
