"""Compare population-based training with random search, at equal environment steps.

    python scripts/benchmark_pbt.py --out pbt.json

The task is fixed: PPO of configs/ppo/pendulum.toml on Pendulum-v1, 8 members of 300,000 steps, four
hyperparameters within the wide bounds below. In each repeat both methods begin with the same keys
and the same random hyperparameters; random search trains them to the end, and the steps that
population-based training spends on evaluating its members are added to its training. Both then
choose their best member by 64 episodes, and the figure is its mean return in 256 others, so that
having been chosen does not count. Episodes of Pendulum are 200 steps, none shorter.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from scipy.stats import bootstrap, trim_mean

import rljax
from rljax.evaluation import episodes

ENV, EPISODE_STEPS = "Pendulum-v1", 200
BOUNDS = {
    "lr": (1e-5, 1e-1, "log"),
    "gamma": (0.8, 0.999),
    "gae_lambda": (0.8, 1.0),
    "entropy_coef": (1e-4, 1e-1, "log"),
}
MEMBERS, ENV_STEPS = 8, 300_000
INTERVAL_ENV_STEPS, EPISODES = 16_384, 8  # from one selection to the next, and in each of them


def ppo(env, env_steps: int):
    """PPO as in configs/ppo/pendulum.toml."""
    return rljax.ppo(
        env,
        num_envs=16,
        rollout_length=128,
        num_epochs=10,
        num_minibatches=8,
        total_env_steps=env_steps,
    )


def training(population):
    """The whole of a population's training, compiled: from a state to the last, and metrics."""

    def run(states):
        return jax.lax.scan(
            lambda s, _: population.step(s), states, length=population.num_iterations
        )

    return jax.jit(run)


def compare(repeats: int, env_steps: int, seed: int) -> list[dict]:
    """Play all repeats; a row for each."""
    env = rljax.make(ENV)
    agent = ppo(env, env_steps)
    evolving = rljax.pbt(
        agent, BOUNDS, interval_env_steps=INTERVAL_ENV_STEPS, num_episodes=EPISODES
    )
    selections = agent.env_steps(agent.num_iterations) // INTERVAL_ENV_STEPS
    longer = ppo(env, env_steps + selections * EPISODES * EPISODE_STEPS)
    searching = rljax.vmap(longer)

    methods = {"pbt": training(evolving), "random": training(searching)}
    select, measure = (episodes(evolving, n) for n in (64, 256))
    rows = []
    for repeat in range(repeats):
        keys = jax.random.split(jax.random.key(seed + repeat), MEMBERS + 2)
        start = evolving.init(keys[:MEMBERS])
        row: dict = {"repeat": repeat}
        for name, train in methods.items():
            states, metrics = train(start)
            chosen = np.asarray(select(states, keys[-2]).returns.mean(-1))
            best = int(np.nanargmax(chosen))
            row[name] = float(measure(states, keys[-1]).returns[best].mean())
            row[f"{name}_members"] = chosen.tolist()
            row[f"{name}_best"] = {h: float(getattr(states.hparams, h)[best]) for h in BOUNDS}
            if name == "pbt":
                history = {k: np.asarray(v).tolist() for k, v in metrics.items() if "popul" in k}
                row["history"] = history
        row["env_steps"] = {
            "pbt": agent.env_steps(agent.num_iterations) + selections * EPISODES * EPISODE_STEPS,
            "random": longer.env_steps(longer.num_iterations),
        }
        print(
            f"repeat {repeat}  pbt {row['pbt']:.1f}  random search {row['random']:.1f}  "
            f"difference {row['pbt'] - row['random']:.1f}",
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
        "env_steps": rows[0]["env_steps"],
    }


def main() -> None:
    """Print a row for each repeat, then the difference and its interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--env-steps", type=int, default=ENV_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for all numbers")
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
