r"""How far back a memory reaches: success in MemoryChain by its length, for networks and agents.

    python benchmarks/studies/memory_lengths.py --json lengths.json --out lengths.png

Each variant trains as `configs/ppo/memory_chain.toml` or `configs/r2d2/memory_chain.toml` says, but
for the length, for what has to grow with it, and for what its name says. The cue is shown in the
first step, and asked for `length` steps later. Success is the part of 256 greedy episodes with the
right answer; who does not remember has one half. `--from` plots the figures of a file.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import many_seeds
import numpy as np

import rljax
from rljax.experiments import config

CONFIGS = Path(__file__).parents[2] / "configs"
LENGTHS = [10, 30, 100]
NETWORKS = ("mlp", "gru", "lstm", "min_gru", "gtrxl")
R2D2 = {
    "r2d2": {},
    "r2d2, no stored state": {"structure.stored_carry": "false"},
    "r2d2, no burn-in": {"structure.burn_in": "0"},
    "r2d2, neither": {"structure.stored_carry": "false", "structure.burn_in": "0"},
}
VARIANTS = [*(f"ppo {network}" for network in NETWORKS), *R2D2]


def agent(variant: str, length: int, env_steps: str | None = None) -> rljax.types.Agent:
    """A variant for a length. Sequences are as long as an episode, and twice that for R2D2."""
    kind, _, network = variant.partition(" ")
    total = env_steps or str(150_000 + 5_000 * length)
    flags = {"environment.memory_length": str(length), "total_env_steps": total}
    if kind == "ppo":
        flags |= {"structure.network": network}
        flags |= {"structure.rollout_length": str(max(32, 32 * -(-(length + 1) // 32)))}
    else:
        parts = ("rollout_length", "overlap", "burn_in")
        flags |= {f"structure.{part}": str(length) for part in parts}
        flags |= {"structure.sequence_length": str(2 * length)} | R2D2[variant]
        # Rollouts are longer, so there are fewer of them.
        flags["structure.updates_per_iteration"] = str(max(2, length // 5))
        # A whole window of each of the 16 environments.
        flags |= {"structure.warmup_env_steps": str(max(2_000, 64 * length))}
        kind = "r2d2"
    return config.load(CONFIGS / kind / "memory_chain.toml", flags).agent()


def measure(variant: str, length: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train all seeds in one program: the success of each."""
    one = agent(variant, length, options.env_steps)
    population, keys = many_seeds.population(one, options.seed, options.num_seeds)
    states, _ = rljax.train(population, keys)
    returns = rljax.evaluate(population, states, jax.random.key(1), 256).returns
    success = np.mean(np.asarray(returns) > 0, axis=1).tolist()
    return {
        "env_steps": one.env_steps(one.num_iterations),
        "first_seed": options.seed,
        "success": success,
    }


def say(variant: str, length: str, found: dict[str, Any]) -> str:
    """A line of figures."""
    each = " ".join(f"{success:.2f}" for success in found["success"])
    return f"{variant:24} length {length:>3}, {found['env_steps']:,} steps: {each}"


def draw(figures: many_seeds.Figures, out: Path) -> None:
    """Success by length: a line for each variant, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for number, (name, found) in enumerate(figures.items()):
        panel = panels[int(name not in VARIANTS[: len(NETWORKS)])]
        lengths = [int(length) for length in found]
        success = [one["success"] for one in found.values()]
        colour = f"C{number % len(NETWORKS)}"
        panel.plot(lengths, [np.mean(seeds) for seeds in success], color=colour, label=name)
        for length, seeds in zip(lengths, success, strict=True):
            panel.scatter([length] * len(seeds), seeds, s=14, color=colour, alpha=0.6)
    for panel in panels:
        panel.axhline(0.5, color="grey", linestyle=":")
        panel.set(xscale="log", xticks=LENGTHS, xticklabels=LENGTHS, xlabel="length")
        panel.minorticks_off()
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8, loc="lower left")
    panels[0].set(ylabel="success", ylim=(0, 1.03))
    figure.savefig(out, dpi=80)


def main(words: list[str] | None = None) -> None:
    """Measure or read, then print and plot."""
    many_seeds.run(__doc__, words, VARIANTS, LENGTHS, measure, say, draw)


if __name__ == "__main__":
    main()
