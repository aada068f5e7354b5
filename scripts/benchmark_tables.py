"""Time tabular Q-learning on grid worlds, beside loops that take one step at a time in Python.

    python scripts/benchmark_tables.py
    python scripts/benchmark_tables.py --worlds CliffWalking --env-steps 2000000 --json

Rows give the median rate of the runs, in environment steps per second, and beside it what the
greedy policy of the last run is worth at the start (discounted), next to the most it could be: a
fast run that does not learn counts for nothing. `python` is the same world as a Python class,
`gymnasium` is Gymnasium's own.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import gymnasium
import jax
import numpy as np

import rljax
from rljax.envs import GRID_WORLDS
from rljax.ops import policy_evaluation, value_iteration

LR, GAMMA = 0.1, 0.99
EPSILON_START, EPSILON_END, EXPLORATION_FRACTION = 1.0, 0.05, 0.5  # as rljax's agents anneal it
NUM_ENVS = 512
GYMNASIUM = {"FrozenLake4x4": "FrozenLake-v1", "FrozenLake8x8": "FrozenLake8x8-v1"}


class PythonGridWorld(gymnasium.Env):
    """A grid world as a Gymnasium environment, by look-up in the same tables."""

    def __init__(self, world):
        self.reached, self.reward = world.reached.tolist(), world.arrival_reward.tolist()
        self.slip, self.starts = world.slip_probability.tolist(), world.starts.tolist()
        self.end, self.cliff = ([c in kind for c in world.cells.flat] for kind in ("GH", "C"))
        self.limit = world.limit
        self.observation_space = gymnasium.spaces.Discrete(world.observation_space.n)
        self.action_space = gymnasium.spaces.Discrete(world.action_space.n)
        self.random = random.Random()

    def start(self) -> int:
        """Any start."""
        return self.starts[0] if len(self.starts) == 1 else self.random.choice(self.starts)

    def reset(self, *, seed=None, options=None):
        """A fresh episode: the cell and nothing else."""
        if seed is not None:
            self.random.seed(seed)
        self.position, self.time = self.start(), 0
        return self.position, {}

    def step(self, action: int):
        """Cell, reward, terminated, truncated and nothing else."""
        slip = self.slip[self.position]
        if slip and (chance := self.random.random()) < slip:
            action = (action + (1 if chance < slip / 2 else 3)) % 4
        cell = self.reached[self.position][action]
        self.position = self.start() if self.cliff[cell] else cell
        self.time += 1
        return self.position, self.reward[cell], self.end[cell], self.time >= self.limit, {}


def numpy_q_learning(env, env_steps: int, seed: int) -> tuple[np.ndarray, float]:
    """Q-learning on a Gymnasium environment: q [S, A], and environment steps per second.

    Rows of Python floats, because with four actions they are four times as fast as NumPy's.
    """
    num_actions, draw = int(env.action_space.n), random.Random(seed).random
    q = [[0.0] * num_actions for _ in range(env.observation_space.n)]
    slope = (EPSILON_START - EPSILON_END) / (EXPLORATION_FRACTION * env_steps)
    obs, _ = env.reset(seed=seed)
    began = time.perf_counter()
    for step in range(env_steps):
        row = q[obs]
        if draw() < max(EPSILON_START - slope * step, EPSILON_END):
            action = int(draw() * num_actions)
        else:
            action = row.index(max(row))
        obs, reward, terminated, truncated, _ = env.step(action)
        target = reward if terminated else reward + GAMMA * max(q[obs])
        row[action] += LR * (target - row[action])
        if terminated or truncated:
            obs, _ = env.reset()
    return np.array(q), env_steps / (time.perf_counter() - began)


def python(name: str, env_steps: int, seed: int) -> tuple[np.ndarray, float]:
    """The loop on our world, written for Gymnasium."""
    return numpy_q_learning(PythonGridWorld(rljax.make(name)), env_steps, seed)


def gymnasium_(name: str, env_steps: int, seed: int) -> tuple[np.ndarray, float]:
    """The loop on Gymnasium's own world, whose actions are numbered the other way round."""
    q, rate = numpy_q_learning(gymnasium.make(GYMNASIUM[name]), env_steps, seed)
    return q[:, ::-1], rate


def rljax_(name: str, env_steps: int, seed: int) -> tuple[np.ndarray, float]:
    """Our own, in many worlds side by side and for as much longer; compiling is left out."""
    hparams = rljax.q_learning.Hparams(
        lr=1.0,
        gamma=GAMMA,
        epsilon_start=EPSILON_START,
        epsilon_end=EPSILON_END,
        exploration_fraction=EXPLORATION_FRACTION,
    )
    agent = rljax.q_learning(
        rljax.make(name),
        num_envs=NUM_ENVS,
        total_env_steps=NUM_ENVS * env_steps // 64,
        step_size="visit_count",
        hparams=hparams,
    )

    def train(key):
        def step(state, _):
            return agent.step(state)

        return jax.lax.scan(step, agent.init(key), length=agent.num_iterations)

    learn = jax.jit(train).lower(jax.random.key(seed)).compile()
    began = time.perf_counter()
    state, _ = jax.block_until_ready(learn(jax.random.key(seed)))
    seconds = time.perf_counter() - began
    steps = agent.num_iterations * agent.env_steps_per_iteration
    return np.asarray(state.learner.params), steps / seconds


Side = Callable[[str, int, int], tuple[np.ndarray, float]]


def sides(name: str) -> dict[str, Side]:
    """Whoever can learn this world: from (name, env_steps, seed) to (q [S, A], rate)."""
    found: dict[str, Side] = {"rljax": rljax_, "python": python}
    if name in GYMNASIUM:
        found["gymnasium"] = gymnasium_
    return found


def start_value(world, q: np.ndarray | None = None) -> float:
    """What the greedy policy of `q` is worth at the start, or the best policy without one."""
    model = world.transition_model()
    if q is None:
        q = value_iteration(model.probability, model.reward, GAMMA)
        return float(model.start @ q.max(axis=1))
    policy = np.eye(q.shape[1])[q.argmax(axis=1)]
    followed = policy_evaluation(model.probability, model.reward, policy, GAMMA)
    return float(model.start @ (policy * followed).sum(axis=1))


def main() -> None:
    """Measure every world, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", default=GRID_WORLDS, choices=GRID_WORLDS)
    parser.add_argument("--env-steps", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    for name in arguments.worlds:
        world = rljax.make(name)
        row: dict = {"world": name, "optimal": round(start_value(world), 3)}
        runs: dict[str, list] = {side: [] for side in sides(name)}
        for seed in range(arguments.runs):
            for side, learn in sides(name).items():
                runs[side].append(learn(name, arguments.env_steps, seed))
        for side, measured in runs.items():
            row[f"{side} rate"] = round(statistics.median(rate for _, rate in measured))
            row[f"{side} value"] = round(start_value(world, measured[-1][0]), 3)
        print(json.dumps(row) if arguments.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
