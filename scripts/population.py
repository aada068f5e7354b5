"""Population-based training of PPO, and a picture of the hyperparameter schedule it found.

    python scripts/population.py --env Acrobot-v1 --out schedule.png

Copy this file and change what you like: the agent, the bounds, how often losers are replaced.
"""

import argparse

import jax
import matplotlib.pyplot as plt
import numpy as np

import rljax
from rljax.tune.pbt import lineage

BOUNDS = {"lr": (1e-5, 1e-1, "log"), "entropy_coef": (1e-4, 1e-1, "log"), "gamma": (0.9, 0.999)}


def main() -> None:
    """Train, say how good the best member is, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--env-steps", type=int, default=200_000, help="of each member")
    parser.add_argument("--out", default="schedule.png")
    flags = parser.parse_args()

    env = rljax.make(flags.env)
    agent = rljax.ppo(env, num_envs=8, rollout_length=64, total_env_steps=flags.env_steps)
    population = rljax.pbt(agent, BOUNDS)
    keys = jax.random.split(jax.random.key(0), flags.members)
    states, history = rljax.train(population, keys)

    # The best by one evaluation; how good it is, by another: having been chosen must not count.
    chosen = rljax.evaluate(population, states, jax.random.key(1)).returns.mean(-1)
    best = int(np.nanargmax(chosen))
    state = jax.tree.map(lambda x: x[best], states)  # a state of the agent alone
    returns = rljax.evaluate(agent, state, jax.random.key(2)).returns
    print(f"member {best} of {flags.members}: mean return {returns.mean():.1f}")

    steps, rows = history["env_steps"], np.arange(len(history["env_steps"]))
    ancestors = lineage(history["population/parent"], best)
    figure, panels = plt.subplots(len(BOUNDS), sharex=True, layout="constrained")
    for axes, (name, bounds) in zip(panels, BOUNDS.items(), strict=True):
        values = history[f"population/{name}"]
        axes.plot(steps, values, color="0.7", linewidth=0.6)
        axes.plot(steps, values[rows, ancestors], color="#0072b2")  # the schedule of the best
        axes.set(ylabel=name, yscale="log" if "log" in bounds else "linear")
    panels[-1].set_xlabel("environment steps of a member")
    figure.savefig(flags.out)


if __name__ == "__main__":
    main()
