"""Time training on CartPole plainly and through `rljax.pmap` over one device.

    python scripts/benchmark_pmap.py

Both programs take turns in one process, since two processes differ by more than they do. Rows are
median seconds of the runs, compiling apart, and their ratio.
"""

import argparse
import statistics
import time

import jax

import rljax
from rljax.types import Agent


def programs(agent: Agent) -> dict:
    """The whole of its training, compiled, from a key: plain and through `pmap`."""

    def compiled(agent):
        def train(key):
            state = agent.init(key)
            return jax.lax.scan(lambda s, _: agent.step(s), state, length=agent.num_iterations)

        return jax.jit(train).lower(jax.random.key(0)).compile()

    return {"plain": compiled(agent), "pmap": compiled(rljax.pmap(agent, devices=1))}


def main() -> None:
    """Print a row for PPO and one for DQN."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=12)
    runs = parser.parse_args().runs
    env = rljax.make("CartPole-v1")
    agents = {
        "ppo 64 x 128": rljax.ppo(env, num_envs=64, rollout_length=128, total_env_steps=400_000),
        "dqn 10": rljax.dqn(env, total_env_steps=60_000),
    }
    for name, agent in agents.items():
        trains = programs(agent)
        seconds: dict[str, list[float]] = {side: [] for side in trains}
        for _ in range(runs):
            for side, train in trains.items():
                began = time.perf_counter()
                jax.block_until_ready(train(jax.random.key(0)))
                seconds[side].append(time.perf_counter() - began)
        plain, spread = (statistics.median(seconds[side]) for side in trains)
        print(f"{name}  plain {plain:.3f} s  pmap {spread:.3f} s  ratio {spread / plain:.3f}")


if __name__ == "__main__":
    main()
