"""A simulator of the host for tests: the walk of `conftest.Walk`, in NumPy."""

import time
from functools import partial

import numpy as np

from rljax.envs import spaces
from rljax.envs.simulators import HostEnvironment, Steps


class Walks:
    """Walks by its action; terminated at position 3, truncated after 4 steps.

    Args:
        num_envs: how many step together.
        seconds: that each step takes.
        fails_at: the number of a step at which it raises, or hangs where `hangs`.
        lives: a list, with one entry for each simulator that was made.
    """

    def __init__(self, num_envs, seconds=0.0, fails_at=None, hangs=False, lives=None):
        self.num_envs, self.seconds, self.hangs = num_envs, seconds, hangs
        self.taken = 0
        first = lives is None or not lives
        self.fails_at = fails_at if first else None
        if lives is not None:
            lives.append(num_envs)

    def reset(self, seeds):
        self.draws = [np.random.default_rng(seed) for seed in seeds]
        self.start = np.array([draw.random() for draw in self.draws], np.float32)
        self.position = np.zeros(self.num_envs, np.float32)
        self.time = np.zeros(self.num_envs, np.float32)
        return self._obs()

    def _obs(self):
        return np.stack([self.start, self.position, self.time], axis=1)

    def step(self, actions):
        self.taken += 1
        if self.taken == self.fails_at:
            if not self.hangs:
                raise RuntimeError("the walk fell over")
            time.sleep(3600)
        time.sleep(self.seconds)
        self.position = self.position + actions.astype(np.float32)
        self.time = self.time + 1
        terminated = self.position >= 3
        over = terminated | (self.time >= 4)
        next_obs, reward = self._obs(), (10 * actions + 1).astype(np.float32)
        for n in np.flatnonzero(over):
            self.start = self.start.copy()
            self.start[n] = self.draws[n].random()
        self.position = np.where(over, np.float32(0), self.position)
        self.time = np.where(over, np.float32(0), self.time)
        return Steps(self._obs(), reward, terminated, over & ~terminated, next_obs, reward, over)

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)

    def close(self):
        pass


def walks(**options) -> HostEnvironment:
    """A description of it."""
    return HostEnvironment(
        "Walks",
        spaces.Box(-np.inf, np.inf, (3,)),
        spaces.Discrete(4),
        partial(Walks, **options),
    )
