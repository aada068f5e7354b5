"""Trials, batches of them, and what became of them; plain data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rljax.errors import ceil_div
from rljax.tune.space import structure_of


@dataclass(frozen=True)
class Trial:
    """One setting of the keys that vary, trained with every seed of the sweep."""

    number: int
    params: Mapping[str, Any]  # dotted key to value


@dataclass(frozen=True)
class Batch:
    """Trials of one structure, which train together in a program with room for `size` of them."""

    trials: tuple[Trial, ...]
    size: int

    @property
    def structure(self) -> dict[str, Any]:
        """What they have in common and is compiled: dotted key to value."""
        return structure_of(self.trials[0].params)


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    trial: Trial
    seeds: tuple[float | None, ...]  # mean return of each, None where it diverged
    value: float | None = None  # the objective, None if one of them diverged
    interval: tuple[float, float] | None = None  # 95% bootstrap interval of it, from 5 seeds on
    episodes: int = 0  # that each seed was evaluated with
    env_steps: int = 0  # that each seed trained
    failure: str | None = None  # why there is no value
    rows: Sequence[dict[str, Any]] = ()  # its metrics, as those of a run
    evaluation: dict[str, Any] | None = None  # as `rljax eval --json` prints it
    became: Mapping[str, Any] | None = None  # its parameters at the end, where training moves them

    @property
    def params(self) -> Mapping[str, Any]:
        """Dotted key to value: what it had at the end."""
        return self.trial.params if self.became is None else self.became


def batches(trials: Sequence[Trial], most: int) -> list[Batch]:
    """Trials by structure, and those of one structure in batches of equal size, at most `most`.

    The last batch of a structure may have fewer trials, and runs in the program of the others.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(repr(structure_of(trial.params)), []).append(trial)
    found = []
    for group in groups.values():
        number = ceil_div(len(group), most)
        size = ceil_div(len(group), number)
        found += [
            Batch(tuple(group[start : start + size]), size) for start in range(0, len(group), size)
        ]
    return found


def ranked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that have a value, best first; of equal ones that whose worst seed is better.

    An interquartile mean does not know the worst seed. Values after fewer environment steps, of
    trials that were given up, come behind.
    """

    def order(outcome: Outcome) -> tuple:
        value = outcome.value or 0.0
        worst = min((seed for seed in outcome.seeds if seed is not None), default=value)
        return -outcome.env_steps, -value, -worst, outcome.trial.number

    return sorted((o for o in outcomes if o.value is not None), key=order)
