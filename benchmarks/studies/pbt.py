"""Compare population-based training with random search, at equal environment steps.

    python benchmarks/studies/pbt.py --out pbt.json

The task is PPO on Pendulum-v1, with 16 members of 300,000 steps. Four hyperparameters are searched,
each over several orders of magnitude. In random search they do not change: the learning rate is not
annealed. In each repeat both methods begin with the same keys and the same random hyperparameters.
Population-based training also spends environment steps on evaluating its members, and random search
trains for as many steps longer. Each method then chooses its best member by 64 episodes. The figure
is the mean return of that member in 256 other episodes, so that the choice does not bias it.
"""

import argparse
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import bootstrap, trim_mean

import rljax
from rljax.training.evaluation import episodes
from rljax.training.rows import plain

ENV = "Pendulum-v1"
BOUNDS = {
    "lr": (1e-6, 1.0, "log"),
    "gamma": (0.5, 0.999),
    "gae_lambda": (0.5, 1.0),
    "entropy_coef": (1e-4, 1.0, "log"),
}
MEMBERS, ENV_STEPS = 16, 300_000
INTERVAL_ENV_STEPS, EPISODES = 32_768, 8  # from one selection to the next, and in each of them


def training(population):
    """The compiled function (states, iterations) to the last states and all metrics of a run."""
    most = 2 * population.num_iterations

    def run(states, count):
        shapes = jax.eval_shape(population.step, states)[1]
        metrics = jax.tree.map(lambda m: jnp.zeros((most, *m.shape), m.dtype), shapes)

        def iteration(i, loop):
            states, reported = population.step(loop[0])
            return states, jax.tree.map(lambda a, m: a.at[i].set(m), loop[1], reported)

        return jax.lax.fori_loop(0, count, iteration, (states, metrics))

    return jax.jit(run)


def compare(repeats: int, env_steps: int, seed: int) -> list[dict]:
    """Run all repeats: a row for each."""
    agent = rljax.ppo(
        rljax.make(ENV),
        num_envs=16,
        rollout_length=64,
        anneal_lr=False,
        total_env_steps=env_steps,
    )
    evolving = rljax.pbt(
        agent, BOUNDS, interval_env_steps=INTERVAL_ENV_STEPS, num_episodes=EPISODES
    )
    evolve, search = training(evolving), training(rljax.vmap(agent))
    select, measure = (episodes(evolving, n) for n in (64, 256))
    rows = []
    for repeat in range(repeats):
        keys = jax.random.split(jax.random.key(seed + repeat), MEMBERS + 2)
        start = evolving.init(keys[:MEMBERS])
        ended, metrics = evolve(start, agent.num_iterations)
        history = {k: np.asarray(v[: agent.num_iterations]) for k, v in metrics.items()}
        spent = float(np.nansum(history["population/evaluation_env_steps"])) / MEMBERS
        longer = agent.num_iterations + math.ceil(spent / agent.env_steps_per_iteration)
        members = {"pbt": ended, "random": search(start, longer)[0]}
        row: dict = {
            "repeat": repeat,
            "env_steps": {
                "pbt": agent.env_steps(agent.num_iterations) + spent,
                "random": agent.env_steps(longer),
            },
            "history": {k: plain(v) for k, v in history.items() if k.startswith("population/")},
        }
        for name, states in members.items():
            chosen = np.asarray(select(states, keys[-2]).returns.mean(-1))
            best = int(np.nanargmax(chosen))
            row[name] = float(measure(states, keys[-1]).returns[best].mean())
            row[f"{name}_members"] = chosen.tolist()
            row[f"{name}_best"] = {h: float(getattr(states.hparams, h)[best]) for h in BOUNDS}
        print(
            f"repeat {repeat}  pbt {row['pbt']:.1f}  random search {row['random']:.1f}  "
            f"difference {row['pbt'] - row['random']:.1f}  env steps of a member "
            f"{row['env_steps']['pbt']:,.0f} and {row['env_steps']['random']:,}",
            flush=True,
        )
        rows.append(row)
    return rows


def summary(rows: list[dict]) -> dict:
    """Mean and interquartile mean of the differences, with a bootstrap interval of the mean."""
    differences = np.array([row["pbt"] - row["random"] for row in rows])
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return {
        "pbt": float(np.mean([row["pbt"] for row in rows])),
        "random": float(np.mean([row["random"] for row in rows])),
        "difference": float(differences.mean()),
        "difference_iqm": float(trim_mean(differences, 0.25)),
        "interval_95": [float(interval.low), float(interval.high)],
        "repeats_ahead": int((differences > 0).sum()),
    }


def main() -> None:
    """Print a row for each repeat, then the difference and its interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--env-steps", type=int, default=ENV_STEPS)
    parser.add_argument("--seed", type=int, default=200)
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    flags = parser.parse_args()
    rows = compare(flags.repeats, flags.env_steps, flags.seed)
    found = summary(rows)
    low, high = found["interval_95"]
    print(
        f"pbt {found['pbt']:.1f}  random search {found['random']:.1f}  "
        f"difference {found['difference']:.1f} (95% interval {low:.1f} to {high:.1f}), "
        f"IQM {found['difference_iqm']:.1f}, ahead in {found['repeats_ahead']} of {len(rows)}"
    )
    if flags.out:
        flags.out.write_text(json.dumps({**found, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
