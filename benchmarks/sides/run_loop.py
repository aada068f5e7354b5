"""Q-learning one step at a time in Python: on Gymnasium's FrozenLake, or on one made of lists."""

import random
import time
from typing import Any

import side

MAP = "SFFFFHFHFFFHHFFG"
LIMIT = 100


class Lake:
    """FrozenLake 4x4, slippery, with Gymnasium's interface, and nothing that would cost time."""

    def reset(self):
        """The cell of the start."""
        self.cell, self.time = 0, 0
        return 0, {}

    def step(self, action):
        """Left, down, right, up; two times out of three to one of the sides instead."""
        row, column = divmod(self.cell, 4)
        action = (action + random.choice((-1, 0, 1))) % 4
        row = min(3, max(0, row + (0, 1, 0, -1)[action]))
        column = min(3, max(0, column + (-1, 0, 1, 0)[action]))
        self.cell = row * 4 + column
        self.time += 1
        kind = MAP[self.cell]
        return self.cell, float(kind == "G"), kind in "GH", self.time >= LIMIT, {}


def learn(env, work):
    """Action values [S][A] as lists of floats, which with four actions are faster than arrays."""
    hparams, steps = work["hparams"], work["peer_env_steps"]
    lr, gamma = 0.1, hparams["gamma"]  # The others divide by the number of visits.
    start, end = hparams["epsilon_start"], hparams["epsilon_end"]
    slope = (start - end) / (hparams["exploration_fraction"] * steps)
    q = [[0.0] * 4 for _ in MAP]
    obs, _ = env.reset()
    for step in range(steps):
        row = q[obs]
        if random.random() < max(start - slope * step, end):
            action = int(random.random() * 4)
        else:
            action = row.index(max(row))
        obs, reward, terminated, truncated, _ = env.step(action)
        target = reward if terminated else reward + gamma * max(q[obs])
        row[action] += lr * (target - row[action])
        if terminated or truncated:
            obs, _ = env.reset()
    return q


def play(env, q, episodes):
    """The mean return of the greedy policy."""
    total = 0.0
    for _ in range(episodes):
        obs, _ = env.reset()
        ended = False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(q[obs].index(max(q[obs])))
            total, ended = total + reward, terminated or truncated
    return total / episodes


def main() -> None:
    """Learn as the work says, and play."""
    work = side.work()
    random.seed(work["seed"])
    if work["side"] == "gymnasium":
        import gymnasium

        env: Any = gymnasium.make("FrozenLake-v1")
    else:
        env = Lake()
    began = time.perf_counter()
    q = learn(env, work)
    seconds = time.perf_counter() - began
    side.answer(
        work["peer_env_steps"],
        [seconds],
        play(env, q, 1000),
        None,
        ["gymnasium"] if work["side"] == "gymnasium" else [],
    )


main()
