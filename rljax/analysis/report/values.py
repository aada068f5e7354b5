"""How the values of runs are written on a page, in tables and in charts."""

import numpy as np

from rljax.analysis.comparison import Comparison, Group, Seed
from rljax.analysis.report.markup import key, text

NOTHING = "–"


def named(compared: Comparison, group: Group) -> str:
    """The name of a group, with the environment where there are several."""
    on = f" on {text(group.env)}" if len(compared.environments) > 1 else ""
    return f"{key(compared.labels.index(group.label))}{text(group.label)}{on}"


def seed_numbers(seeds: tuple[Seed, ...]) -> str:
    """Seed numbers, those in a row as one range: 0-3, 8."""
    parts: list[list[int]] = []
    for number_ in sorted(seed.seed for seed in seeds):
        if parts and number_ == parts[-1][-1] + 1:
            parts[-1].append(number_)
        else:
            parts.append([number_])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def plain(values: np.ndarray) -> list[float]:
    """Numbers with six significant digits."""
    return [float(f"{value:.6g}") for value in values]


def bounds(interval: tuple[np.ndarray, np.ndarray] | None) -> dict[str, list[float]]:
    """The band of a line, if it has one."""
    return {} if interval is None else {"low": plain(interval[0]), "high": plain(interval[1])}
