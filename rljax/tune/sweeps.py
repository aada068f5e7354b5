"""Sweeps from beginning to end: start one, or go on with what a kill has left."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from rljax.errors import RunError, UsageError, check_known
from rljax.experiments import config as configs
from rljax.experiments.config import Config
from rljax.tune import directory, methods, results, settings
from rljax.tune.batch_training import members_at_once
from rljax.tune.directory import SweepDirectory
from rljax.tune.settings import Sweep
from rljax.tune.trials import Batch, Outcome, Trial, batches, ranked
from rljax.types import Agent

Report = Callable[[str], None]
Done = Callable[[list[Outcome]], None]
Drive = Callable[[Sequence[Batch], Done], None]
"""Trains batches, here or on many machines; tells of the trials of each as soon as it is done."""
DRIVERS = ("local", "ray")


@dataclass(frozen=True)
class Result:
    """A finished sweep."""

    directory: SweepDirectory
    sweep: Sweep
    outcomes: Sequence[Outcome]  # by number; rows of metrics are in `directory.trial(number)`
    importances: Mapping[str, float] | None  # of each key, summing to 1; None if they are not known

    @property
    def best(self) -> Outcome:
        """The trial with the highest value. Raises RunError if every trial diverged."""
        if not (order := ranked(self.outcomes)):
            raise RunError(f"no trial of {self.directory.path} has a value: all diverged")
        return order[0]


def run(
    config: Config | str | Path,
    space: Mapping[str, Any] | str | Path | None = None,
    *,
    run_dir: str | Path | None = None,
    driver: str = "local",
    report: Report = lambda sentence: None,
    command: Sequence[str] = (),
    **given: Any,
) -> Result:
    """Tune a config, in a new directory.

    Args:
        config: the experiment, or the path of its TOML file.
        space: the tables `hparams`, `structure` and `sweep` of a search space, or the path of a
            TOML file; by default `NAME.sweep.toml` beside the config's `NAME.toml`.
        run_dir: where, by default in `runs/`; it must not exist yet.
        driver: "local", or "ray" for a Ray cluster.
        report: told, a sentence at a time, how it goes.
        command: what was typed, for the record.
        **given: keys of `Settings`, before those of the space: `trials=64, seeds=4`.

    Raises UsageError, before anything is compiled or written, for a space, settings or a structure
    that cannot be used, RunError for a directory that exists.

    >>> from rljax import tune
    >>> space = {"hparams": {"lr": {"low": 1e-4, "high": 1e-2, "scale": "log"}}}
    >>> sweep = tune.resolve("configs/ppo/cartpole.toml", space, trials=3, seeds=2)
    >>> sweep.settings.trials, list(sweep.space)
    (3, ['hparams.lr'])
    """
    check_driver(driver)
    sweep = placed(resolve(config, space, **given), is_local=driver == "local")
    path = Path(run_dir) if run_dir else directory.default_path(sweep)
    drive = driving(driver, sweep, path)
    found = directory.create(path, sweep, command or sys.argv)
    report(results.plan(sweep, path))
    return _run(found, sweep, drive, report)


def resume(path: str | Path, driver: str = "local", report: Report = lambda s: None) -> Result:
    """Go on with a sweep: the trials that it has not finished, and no others.

    Raises RunError for a sweep that is missing or damaged, or whose sampler asks for other trials
    than it did.
    """
    check_driver(driver)
    found = directory.find(path)
    sweep = found.load()
    drive = driving(driver, sweep, found.path)
    done = len(found.outcomes())
    report(f"resuming {path}: {done} of {sweep.settings.trials} trials are done")
    return _run(found, sweep, drive, report)


def resolve(
    config: Config | str | Path, space: Mapping[str, Any] | str | Path | None = None, **given: Any
) -> Sweep:
    """What `run` would run, checked, without running it; arguments and errors are the same."""
    if space is None:
        if isinstance(config, Config):
            raise UsageError("a config that is not a file has no space beside it: give one")
        space = settings.beside(config)
    where, tables = "search space", space
    if not isinstance(space, Mapping):
        where, tables = str(space), settings.read(space)
    if not isinstance(config, Config):
        config = configs.load(config)
    assert isinstance(tables, Mapping)
    return settings.resolve(config, tables, given, where)


def placed(sweep: Sweep, is_local: bool = True) -> Sweep:
    """A sweep with devices and batch decided, and every structure it may ask for built once.

    Raises UsageError for a structure that the agent refuses, and devices that are not there.
    """
    chosen = sweep.settings
    there = jax.local_device_count()
    if is_local and chosen.devices > there:
        raise UsageError(f"{chosen.devices} devices are asked for, but there are {there}")
    devices = chosen.devices or (there if is_local else 1)
    sweep = replace(sweep, settings=replace(chosen, devices=devices))
    method = methods.get(chosen.method)
    agents = [_build(sweep, structure) for structure in method.search(sweep).structures()]
    trials = chosen.trials or 1
    batch = chosen.batch or max(
        1,
        min(
            min(members_at_once(agent, devices) for agent in agents) // chosen.seeds,
            trials // method.rounds,
        ),
    )
    batch = trials if method.is_one_batch else min(batch, trials)
    return replace(sweep, settings=replace(sweep.settings, batch=batch))


def _build(sweep: Sweep, structure: Mapping[str, Any]) -> Agent:
    try:
        return sweep.config.varied(structure, "sweep").agent()
    except UsageError as error:
        where = ", ".join(f"{key} = {value!r}" for key, value in structure.items())
        raise UsageError(f"{where or 'the config'}: {error}") from None


def _run(found: SweepDirectory, sweep: Sweep, drive: Drive, report: Report) -> Result:
    search = methods.get(sweep.settings.method).search(sweep)
    outcomes = found.outcomes()
    progress = results.Progress(sweep, len(outcomes), report)

    def done(finished: list[Outcome]) -> None:
        found.commit(sweep, finished)
        outcomes.update(found.outcomes())
        progress(outcomes, finished)

    while trials := search.ask():
        _check_same(found, trials, outcomes)
        planned = batches(trials, sweep.settings.batch)
        drive([b for b in planned if any(t.number not in outcomes for t in b.trials)], done)
        search.tell([outcomes[trial.number] for trial in trials])
    in_order = [outcomes[number] for number in sorted(outcomes)]
    return Result(found, sweep, in_order, results.write(found, sweep, in_order, report))


def _check_same(
    found: SweepDirectory, trials: Sequence[Trial], outcomes: Mapping[int, Outcome]
) -> None:
    for trial in trials:
        known = outcomes.get(trial.number)
        if known is not None and dict(known.trial.params) != dict(trial.params):
            raise RunError(
                f"trial {trial.number} of {found.path} is not the one its search asks for now: "
                "go on with the versions of numpy and optuna that system.json names"
            )


def check_driver(name: str) -> None:
    """Refuse a driver that is not known, with the nearest one that is."""
    check_known("driver", name, DRIVERS)


def driving(name: str, sweep: Sweep, path: Path) -> Drive:
    """The driver of a name, for a sweep in a directory.

    Raises UsageError if what it needs is not installed, or the method has no use for it.
    """
    method = methods.get(sweep.settings.method)
    if name == "ray":
        if method.is_one_batch:
            raise UsageError(
                f"all trials of the method {sweep.settings.method!r} train in one program, "
                'so there is nothing to share out: leave out driver "ray"'
            )
        from rljax.tune import ray_tune

        return ray_tune.driver(sweep, path.absolute() / "ray")
    train = method.train(sweep, path / directory.KEPT)

    def drive(waiting: Sequence[Batch], done: Done) -> None:
        """One after another in this process; those of one structure share compiled programs."""
        for batch in waiting:
            done(train(batch))

    return drive
