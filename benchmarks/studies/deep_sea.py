r"""What finds the one reward of DeepSea: the part of the seeds that do, by size, and when.

    python benchmarks/studies/deep_sea.py --json deep_sea.json --out deep_sea.png

In DeepSea of size n the reward is behind n right actions in a row. A seed has solved it when its
greedy actions get there; that is tried twenty times while it trains. PPO trains as
`configs/ppo/deep_sea.toml` says, but for size, length of rollouts and kind of curiosity. `--from`
plots the figures of a file.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import many_seeds
import numpy as np

import rljax
from rljax.agents.dqn import Hparams
from rljax.experiments import config
from rljax.training.evaluation import episodes

CONFIG = Path(__file__).parents[2] / "configs/ppo/deep_sea.toml"
SIZES = [10, 20, 30]
DQN: dict[str, dict[str, Any]] = {
    "dqn epsilon-greedy": {},
    "dqn ez_greedy": {"exploration": "ez_greedy"},
    "dqn counts": {"curiosity": "counts"},
}
PPO = {"ppo rnd": "rnd", "ppo counts": "counts", "ppo": "none"}
VARIANTS = [*DQN, *PPO]
TRIES = 20


def agent(variant: str, size: int, env_steps: str | None = None) -> rljax.types.Agent:
    """A variant for a size."""
    total = int(env_steps or 500_000)
    if variant in PPO:
        flags = {"environment.size": str(size), "total_env_steps": str(total)}
        flags |= {"structure.rollout_length": str(2 * size)}
        flags |= {"structure.curiosity": PPO[variant]}
        return config.load(CONFIG, flags).agent()
    hparams = Hparams(lr=1e-3, tau=0.01, epsilon_end=0.05, exploration_fraction=0.2)
    return rljax.dqn(
        rljax.make("DeepSea-bsuite", size=size),
        num_envs=16,
        total_env_steps=total,
        buffer_size=100_000,
        updates_per_iteration=2,
        target_period=1,
        hidden=(64, 64),
        double=True,
        hparams=hparams,
        **DQN[variant],
    )


def measure(variant: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train all seeds in one program: the environment steps after which each had solved it."""
    one = agent(variant, size, options.env_steps)
    population, keys = many_seeds.population(one, options.seed, options.num_seeds)
    play = episodes(population, 1)
    solved: list[int | None] = [None] * options.num_seeds

    def watch(state, row):
        returns = np.asarray(play(state, jax.random.key(1)).returns)[:, 0]
        for seed in np.flatnonzero(returns > 0.5).tolist():
            solved[seed] = solved[seed] or row["env_steps"]

    every = max(1, one.num_iterations // TRIES)
    rljax.train(population, keys, hooks=[watch], chunk_iterations=every)
    return {
        "env_steps": one.env_steps(one.num_iterations),
        "first_seed": options.seed,
        "solved": solved,
    }


def say(variant: str, size: str, found: dict[str, Any]) -> str:
    """A line of figures."""
    each = " ".join("-" if steps is None else f"{steps:,}" for steps in found["solved"])
    return f"{variant:20} size {size:>2}, of {found['env_steps']:,} steps: {each}"


def draw(figures: many_seeds.Figures, out: Path) -> None:
    """The part of the seeds that solved each size, and the steps it took them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    parts, steps = figure.subplots(1, 2)
    for number, (name, found) in enumerate(figures.items()):
        sizes = [int(size) for size in found]
        solved = [[s for s in one["solved"] if s is not None] for one in found.values()]
        part = [len(s) / len(one["solved"]) for s, one in zip(solved, found.values(), strict=True)]
        aside = (number - len(figures) / 2) * 0.4  # or they would hide each other
        parts.plot(np.array(sizes) + aside, part, "o-", color=f"C{number}", label=name)
        for size, each in zip(sizes, solved, strict=True):
            steps.scatter([size + aside] * len(each), np.array(each) / 1000, 16, f"C{number}")
    ticks = sorted({int(size) for found in figures.values() for size in found})
    for panel in (parts, steps):
        panel.set(xticks=ticks, xlabel="size")
    parts.set(ylabel="part of the seeds that solved it", ylim=(-0.05, 1.05))
    steps.set(ylabel="1000 environment steps until then")
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(out, dpi=80)


def main(words: list[str] | None = None) -> None:
    """Measure or read, then print and plot."""
    many_seeds.run(__doc__, words, VARIANTS, SIZES, measure, say, draw)


if __name__ == "__main__":
    main()
