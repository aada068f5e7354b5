"""What studies of many seeds share: a population, its arguments, and its figures in a file."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import rljax
from rljax.types import Agent

Figures = dict[str, dict[str, Any]]
"""Of each variant, of each size: what was measured."""


def population(agent: Agent, seed: int, num_seeds: int) -> tuple[Agent, jax.Array]:
    """The agent with so many seeds in one program, and their keys."""
    return rljax.vmap(agent), jax.vmap(jax.random.key)(seed + jnp.arange(num_seeds))


def run(
    doc: str | None,
    words: list[str] | None,
    variants: list[str],
    sizes: list[int],
    measure: Callable[[str, int, argparse.Namespace], dict[str, Any]],
    say: Callable[[str, str, dict[str, Any]], str],
    draw: Callable[[Figures, Path], None],
) -> None:
    """Measure each variant at each size, or read what was measured; print and plot it."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="add the figures to this file, after each")
    parser.add_argument("--from", dest="given", type=Path, help="read the figures from this file")
    parser.add_argument("--out", type=Path, help="the .png file of the plot")
    parser.add_argument("--seed", type=int, default=100, help="the first seed")
    parser.add_argument("--num-seeds", type=int, default=4)
    parser.add_argument("--env-steps", help="instead of the study's")
    parser.add_argument("--variant", action="append", choices=variants)
    parser.add_argument("--size", action="append", type=int)
    options = parser.parse_args(words)
    file = options.given or options.json
    figures: Figures = json.loads(file.read_text()) if file and file.exists() else {}
    if not options.given:
        for size in options.size or sizes:
            for name in options.variant or variants:
                figures.setdefault(name, {})[str(size)] = measure(name, size, options)
                print(say(name, str(size), figures[name][str(size)]), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(figures) + "\n")
    else:
        for name, found in figures.items():
            for size, one in found.items():
                print(say(name, size, one))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        draw(figures, options.out)
