"""A sweep directory: what is in it, how one begins, and how a batch is committed to it."""

import csv
import io
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rljax.errors import RunError, UsageError
from rljax.experiments import config as configs
from rljax.experiments import directory as runs
from rljax.experiments.directory import Place, RunDirectory, write_atomically
from rljax.tune import settings
from rljax.tune.settings import Sweep
from rljax.tune.trials import Outcome, Trial, ranked

KEPT = "population"
"""Where a method whose trials train in one long batch keeps their state."""


@dataclass(frozen=True)
class SweepDirectory:
    """The places in a sweep directory; `sweep.toml` makes it one."""

    path: Path
    sweep = Place("sweep.toml")
    """Settings and search space, resolved."""
    base = Place("base.toml")
    """The config that trials are variations of, resolved."""
    table = Place("trials.jsonl")
    """Finished trials, one JSON object a line; a batch is there whole, or not at all."""
    best = Place("best.toml")
    """The config of the best trial, for `rljax train`."""
    importances = Place("importances.json")
    """How much of the objective's variation each key explains."""
    parallel = Place("parallel.png")
    """Parallel coordinates of all trials."""
    responses = Place("responses.png")
    """The objective over each key."""

    def trial(self, number: int) -> RunDirectory:
        """A trial, as the directory of a run without checkpoints."""
        return RunDirectory(self.path / "trials" / f"{number:04d}")

    def load(self) -> Sweep:
        """The sweep it was started as."""
        try:
            return settings.resolve(configs.load(self.base), settings.read(self.sweep))
        except UsageError as error:
            raise RunError(f"sweep {self.path} is damaged: {error}") from error

    def outcomes(self) -> dict[int, Outcome]:
        """Finished trials by number, without rows. Raises RunError for a damaged table."""
        found = {}
        for number, line in enumerate(self.table.read_text().splitlines(), start=1):
            try:
                outcome = _parse(json.loads(line))
            except (ValueError, TypeError, KeyError):
                raise RunError(f"{self.table} is damaged in line {number}") from None
            found[outcome.trial.number] = outcome
        return found

    def commit(self, sweep: Sweep, outcomes: Sequence[Outcome]) -> None:
        """Add the trials of a batch: all of them, or, if this does not come to its end, none."""
        for outcome in outcomes:
            self._write_trial(sweep, outcome)
        known = {**self.outcomes(), **{o.trial.number: o for o in outcomes}}
        in_order = [known[number] for number in sorted(known)]
        write_atomically(self.table, "".join(json.dumps(_plain(o)) + "\n" for o in in_order))

    def write_results(self, sweep: Sweep) -> None:
        """trials.csv and best.toml, from the table."""
        outcomes = self.outcomes()
        write_atomically(self.path / "trials.csv", _csv(sweep, outcomes.values()))
        if best := ranked(outcomes.values()):
            write_atomically(self.best, sweep.config.varied(best[0].params, "sweep").toml())

    def _write_trial(self, sweep: Sweep, outcome: Outcome) -> None:
        run = self.trial(outcome.trial.number)
        shutil.rmtree(run.path, ignore_errors=True)  # of a batch that was not committed
        run.path.mkdir(parents=True)
        run.metrics.write_text("".join(json.dumps(row) + "\n" for row in outcome.rows))
        if outcome.evaluation is not None:
            run.evaluation.write_text(json.dumps(outcome.evaluation) + "\n")
        run.write_config(sweep.trial_config(outcome.trial.params))


def create(path: Path, sweep: Sweep, command: Sequence[str]) -> SweepDirectory:
    """Begin a sweep in a directory that must not exist yet. Raises RunError if it is in the way."""
    runs.begin(path, command)
    found = SweepDirectory(path)
    found.table.touch()
    write_atomically(found.base, sweep.config.toml())
    write_atomically(found.sweep, sweep.toml())  # Last: without it this is no sweep.
    return found


def is_sweep(path: str | Path) -> bool:
    """Whether a sweep has begun there."""
    return SweepDirectory(Path(path)).sweep.is_file()


def find(path: str | Path) -> SweepDirectory:
    """The sweep at a path. Raises RunError for what is missing or not a sweep."""
    if not Path(path).is_dir():
        raise RunError(f"sweep {path} does not exist")
    if not is_sweep(path):
        raise RunError(f"{path} is not a sweep: it has no sweep.toml")
    return SweepDirectory(Path(path))


def default_path(sweep: Sweep) -> Path:
    """runs/{env}__{agent}__{seed}__{time}__sweep."""
    path = runs.default_path(sweep.config)
    return path.with_name(f"{path.name}__sweep")


NOT_IN_THE_TABLE = {"trial", "rows", "evaluation"}


def _plain(outcome: Outcome) -> dict[str, Any]:
    trial = {"number": outcome.trial.number, "params": dict(outcome.trial.params)}
    return trial | {k: v for k, v in vars(outcome).items() if k not in NOT_IN_THE_TABLE}


def _parse(line: dict[str, Any]) -> Outcome:
    params = {k: tuple(v) if isinstance(v, list) else v for k, v in line.pop("params").items()}
    for field in ("seeds", "interval"):
        line[field] = None if line[field] is None else tuple(line[field])
    return Outcome(trial=Trial(line.pop("number"), params), **line)


def _csv(sweep: Sweep, outcomes: Iterable[Outcome]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    seeds = [f"seed {i}" for i in range(sweep.settings.seeds)]
    columns = ["value", "low", "high", *seeds, "episodes", "env_steps", "failure"]
    writer.writerow(["trial", *sweep.space, *columns])
    for o in outcomes:
        low, high = o.interval or (None, None)
        numbers = [o.value, low, high, *o.seeds, o.episodes, o.env_steps, o.failure]
        writer.writerow([o.trial.number, *(o.params[key] for key in sweep.space), *numbers])
    return text.getvalue()
