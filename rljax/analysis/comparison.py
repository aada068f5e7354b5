"""Runs side by side: which belong together, and what their evaluations say, seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rljax import statistics
from rljax.errors import RunError, UsageError
from rljax.experiments import directory, metrics
from rljax.experiments.config import Config
from rljax.experiments.directory import RunDirectory

NOT_OF_THE_METHOD = {"env", "seed", "num_seeds", "checkpoint", "logging"}
"""Keys, or their sections, in which runs of one method may differ."""


@dataclass(frozen=True)
class Run:
    """What a run directory says."""

    directory: RunDirectory
    config: Config
    rows: list[dict[str, Any]]

    @property
    def seeds(self) -> list[int]:
        """The seeds it trained, in the order of its metrics."""
        top = self.config.top
        return list(range(top.seed, top.seed + top.num_seeds))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Environment steps [K] and values [K, seeds] of a metric."""
        steps, values = metrics.series(self.rows, name)
        if len(steps) and values.shape[1] != len(self.seeds):
            raise RunError(
                f"{self.directory.metrics} is damaged: {name} has {values.shape[1]} values, but "
                f"there are {len(self.seeds)} seeds"
            )
        return steps, values

    def clock(self) -> tuple[np.ndarray, np.ndarray]:
        """Environment steps [K] of each seed, and those of all seeds [K] per second before it."""
        steps, rate = metrics.series(self.rows, "charts/SPS")
        return steps, rate[:, 0]

    @property
    def method(self) -> dict[str, Any]:
        """Every value by its dotted key, but for those that make it one run of many."""
        values = self.config.values()
        values["schedule_env_steps"] = values["schedule_env_steps"] or values["total_env_steps"]
        return {k: v for k, v in values.items() if k.partition(".")[0] not in NOT_OF_THE_METHOD}


class Seed(NamedTuple):
    """One seed of a run."""

    run: Run
    column: int  # among the seeds of its run

    @property
    def seed(self) -> int:
        """The number itself."""
        return self.run.seeds[self.column]


@dataclass(frozen=True)
class Group:
    """Runs of one method on one environment, which differ by seed alone.

    N seeds were evaluated K times, each time over full episodes: `returns` are their means.
    """

    env: str
    label: str
    runs: tuple[Run, ...]
    seeds: tuple[Seed, ...]
    steps: np.ndarray  # [K] environment steps of each seed
    returns: np.ndarray  # [K, N]
    success: np.ndarray | None  # [K, N] fraction of episodes; None where there is no goal

    @property
    def budget(self) -> int:
        """The environment steps it was meant to take, or those it has taken if fewer."""
        return min(self.runs[0].config.top.total_env_steps, int(self.steps[-1]))

    def at(self, env_steps: int) -> int:
        """The evaluation, 0 to K - 1, that says what `env_steps` had led to.

        The last one by then. A run takes the steps it was asked for rounded up, so a group whose
        budget that is has its last of all.
        """
        if env_steps >= self.budget:
            return len(self.steps) - 1
        if env_steps < self.steps[0]:
            raise UsageError(
                f"{self.label} on {self.env} cannot be compared at {env_steps:,} environment "
                f"steps, where another group ends: its first evaluation is at {self.steps[0]:,}"
            )
        return int(np.searchsorted(self.steps, env_steps, side="right")) - 1


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, environment by environment, and in sentences what was left out of them."""

    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """The methods, in the order in which their runs were given."""
        return list(dict.fromkeys(group.label for group in self.groups))

    @property
    def environments(self) -> dict[str, list[Group]]:
        """The groups on each environment."""
        names = dict.fromkeys(group.env for group in self.groups)
        return {name: [g for g in self.groups if g.env == name] for name in names}

    def check(self) -> None:
        """Raises RunError where there is nothing to compare, as no run was evaluated yet."""
        if not self.groups:
            raise RunError(f"{self.notes[0]}, and there is no other")

    def scores(self) -> dict[str, np.ndarray]:
        """Scores [N, M] of each method, at the end of the shortest group on each environment.

        On one environment they are returns. Over several they are normalised: 0 is the lowest and
        1 the highest return that any seed of the comparison was evaluated with there, at any time.

        Raises UsageError where a method lacks an environment or has more seeds on one than on
        another, and where a group has no evaluation early enough, RunError as `check` does.
        """
        self.check()
        last = []
        for groups in self.environments.values():
            end = min(group.budget for group in groups)
            last.append({group.label: group.returns[group.at(end)] for group in groups})
        return self._together(last)

    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Environment steps [K] and scores [K, N, M] of each method, where all groups have them.

        Scores are as `scores` has them. Raises UsageError as it does, and where groups have less
        than two steps in common.
        """
        grids = [set(group.steps.tolist()) for group in self.groups]
        steps = sorted(set.intersection(*grids))
        if len(steps) < 2:
            raise UsageError(
                "curves are pooled over environments at the steps at which all groups were "
                f"evaluated, of which there {'is one' if steps else 'are none'}"
            )
        rows = [
            {group.label: group.returns[np.isin(group.steps, steps)] for group in groups}
            for groups in self.environments.values()
        ]
        return {k: (np.array(steps), scores) for k, scores in self._together(rows).items()}

    def _together(self, returns: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Returns [..., N] by method, of each environment, as scores [..., N, M]."""
        names = list(self.environments)
        for label in self.labels:
            lacking = [n for n, own in zip(names, returns, strict=True) if label not in own]
            if lacking:
                raise UsageError(
                    "methods are compared over all environments together, and "
                    f"{label} has no run on {', '.join(lacking)}"
                )
            counts = [own[label].shape[-1] for own in returns]
            if len(set(counts)) > 1:
                told = ", ".join(f"{n} on {name}" for n, name in zip(counts, names, strict=True))
                raise UsageError(
                    "methods are compared over all environments with as many seeds on each, and "
                    f"{label} has {told}"
                )
        scores = {k: np.stack([own[k] for own in returns], axis=-1) for k in self.labels}
        if len(names) == 1:
            return scores
        return {k: statistics.normalised(v, *self.scale()) for k, v in scores.items()}

    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest return of a seed's evaluation in each environment, [M]."""
        everything = [[g.returns for g in groups] for groups in self.environments.values()]
        low = [min(returns.min() for returns in found) for found in everything]
        high = [max(returns.max() for returns in found) for found in everything]
        return np.array(low), np.array(high)


def read(paths: Sequence[str]) -> Comparison:
    """The runs at some paths, compared. Raises RunError for what is missing or damaged."""
    return compare([directory.find(path) for path in paths])


def compare(directories: Sequence[RunDirectory]) -> Comparison:
    """Groups of the runs that differ by nothing but their seeds.

    A seed that is there twice counts once, and a run without an evaluation not at all. A group is
    cut to the steps at which all of its runs were evaluated. `notes` tells of each.

    Raises RunError for a run that is damaged, UsageError for a group without a step in common.
    """
    runs = [Run(run, run.load_config(), metrics.read(run.metrics)) for run in directories]
    notes: list[str] = []
    evaluated = []
    for run in runs:
        if len(run.series(metrics.EVALUATED)[0]):
            evaluated.append(run)
        else:
            notes.append(f"{run.directory.path} has no evaluation yet and is left out")
    labels = _labels(evaluated)
    places = list(dict.fromkeys((run.config.top.env, label) for run, label in labels))
    groups = [
        _group(
            env, label, [r for r, own in labels if (r.config.top.env, own) == (env, label)], notes
        )
        for env, label in places
    ]
    return Comparison(tuple(runs), tuple(groups), tuple(notes))


def shown(value: Any) -> str:
    """A value of a config as a label has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _labels(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Each run and its method's name: the agent, and what varies among its runs somewhere."""
    methods = [(run.config.top.env, run.config.top.agent, run.method) for run in runs]
    firsts: dict[tuple[str, str], dict[str, Any]] = {}
    varied: dict[str, set[str]] = {}
    for env, agent, method in methods:
        first = firsts.setdefault((env, agent), method)
        differing = {k for k in method if method[k] != first[k]}
        varied[agent] = varied.get(agent, set()) | differing
    named = []
    for run, (_, agent, method) in zip(runs, methods, strict=True):
        own = [k for k in method if k in varied[agent]]
        named.append((run, " ".join([agent, *(f"{_short(k)}={shown(method[k])}" for k in own)])))
    return named


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _group(env: str, label: str, runs: Sequence[Run], notes: list[str]) -> Group:
    seeds: list[Seed] = []
    for run in runs:
        taken = [other.seed for other in seeds]
        twice = [str(seed) for seed in run.seeds if seed in taken]
        seeds += [Seed(run, i) for i, seed in enumerate(run.seeds) if seed not in taken]
        if twice:
            notes.append(
                f"seed {', '.join(twice)} of {run.directory.path} is in another run of the same "
                "config, too, and counts once"
            )
    used = tuple(run for run in runs if any(seed.run is run for seed in seeds))
    grids = [run.series(metrics.EVALUATED)[0].tolist() for run in used]
    steps = np.array(sorted(set.intersection(*map(set, grids))), dtype=int)
    most = max(map(len, grids))
    if not len(steps):
        paths = " and ".join(str(run.directory.path) for run in used[:2])
        raise UsageError(
            f"{paths} differ by seed alone, but were never evaluated at the same environment steps"
        )
    if most > len(steps):
        notes.append(
            f"{label} on {env}: of {most} evaluations only the {len(steps)} count that all of its "
            f"runs have, the last at {steps[-1]:,} environment steps"
        )

    def columns(name: str) -> np.ndarray:
        parts = []
        for run in used:
            at, values = run.series(name)
            kept = [seed.column for seed in seeds if seed.run is run]
            parts.append(values[np.isin(at, steps)][:, kept])
        return np.concatenate(parts, axis=1)

    has_goal = all(set(steps) <= set(run.series(metrics.SUCCESS_RATE)[0]) for run in used)
    success = columns(metrics.SUCCESS_RATE) if has_goal else None
    return Group(env, label, used, tuple(seeds), steps, columns(metrics.EVALUATED), success)
