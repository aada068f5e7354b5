"""What a sweep has found: a table on the terminal, files, importances."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rljax.analysis.plots import estimate
from rljax.errors import UsageError
from rljax.experiments.directory import write_atomically
from rljax.statistics import FEWEST_FOR_INTERVAL
from rljax.training.rows import TOO_MUCH, too_much
from rljax.tune import figures
from rljax.tune.directory import SweepDirectory
from rljax.tune.settings import Sweep
from rljax.tune.trials import Outcome, ranked

MOST_SHOWN = 5
FEWEST_FOR_IMPORTANCES = 4  # trials: with fewer, the best part of them is one


def plan(sweep: Sweep, path: Path) -> str:
    """What a sweep is about to do."""
    top, settings = sweep.config.top, sweep.settings
    return (
        f"{settings.trials} trials x {settings.seeds} seeds of {top.agent} on {top.env}, "
        f"{top.total_env_steps:,} environment steps each, up to {settings.batch} trials at once "
        f"on {settings.devices} device{'s' * (settings.devices > 1)}, in {path}"
    )


class Progress:
    """Says after every batch how far the sweep is, and once what keeps trials from learning."""

    def __init__(self, sweep: Sweep, known: int, report: Callable[[str], None]) -> None:
        self._sweep, self._report = sweep, report
        self._known, self._began = known, time.perf_counter()
        self._warned: set[str] = set()

    def __call__(self, outcomes: Mapping[int, Outcome], finished: Iterable[Outcome]) -> None:
        """Report on all trials so far, of which `finished` are those of the last batch."""
        self._warn(finished)
        settings = self._sweep.settings
        assert settings.trials is not None
        best = ranked(outcomes.values())
        leader = f"best {best[0].value:.2f} (trial {best[0].trial.number})" if best else "none good"
        failed = len(outcomes) - len(best)
        diverged = f", {failed} diverged" if failed else ""
        left = settings.trials - len(outcomes)
        seconds = (time.perf_counter() - self._began) / (len(outcomes) - self._known) * left
        self._report(
            f"{len(outcomes)}/{settings.trials} trials{diverged}: {leader}, {seconds:.0f} s left"
        )

    def _warn(self, finished: Iterable[Outcome]) -> None:
        total = self._sweep.config.top.total_env_steps
        for outcome in finished:
            for row in outcome.rows:
                for name in too_much(row, total) - self._warned:
                    self._warned.add(name)
                    self._report(f"trial {outcome.trial.number}: {TOO_MUCH[name][1]}")


def write(
    found: SweepDirectory,
    sweep: Sweep,
    outcomes: Sequence[Outcome],
    report: Callable[[str], None],
) -> dict[str, float] | None:
    """Write trials.csv, best.toml, importances.json and the pictures; return the importances."""
    found.write_results(sweep)
    if ranked(outcomes):
        figures.draw(found, sweep, outcomes)
    try:
        shares = importances(sweep, outcomes)
    except UsageError as error:
        report(str(error))
        return None
    if shares is not None:
        write_atomically(found.importances, json.dumps(shares, indent=2) + "\n")
    return shares


def importances(sweep: Sweep, outcomes: Sequence[Outcome]) -> dict[str, float] | None:
    """The share of each key in how good a trial is, summing to 1; None with too few trials.

    PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255), by Optuna. Raises UsageError
    if Optuna is not installed.
    """
    from rljax.tune import bayes

    optuna = bayes.optuna("the importance of hyperparameters")
    good = ranked(outcomes)
    varied = [key for key in sweep.space if len({repr(o.params[key]) for o in good}) > 1]
    if len(good) < FEWEST_FOR_IMPORTANCES or len({o.value for o in good}) < 2 or not varied:
        return None
    kinds = {key: bayes.as_optuna(sweep.space[key]) for key in varied}
    study = optuna.create_study(direction="maximize")
    for outcome in good:
        params = {k: bayes.to_optuna(sweep.space[k], outcome.params[k]) for k in varied}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=kinds, value=outcome.value)
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found: dict[str, Any] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(found.get(key, 0.0)) for key in sweep.space}


def table(sweep: Sweep, outcomes: Sequence[Outcome]) -> Any:
    """The best trials as a table for a terminal, with intervals over seeds, or each of a few."""
    from rich.table import Table

    settings = sweep.settings
    episodes = outcomes[0].episodes if outcomes else 0
    over = estimate(settings.seeds, settings.objective)
    spread = "95% interval" if settings.seeds >= FEWEST_FOR_INTERVAL else "seeds"
    shown = Table(
        caption=f"mean return: {over}, {episodes} episodes each",
        caption_justify="left",
        width=max(80, 24 + 12 * len(sweep.space)),
        box=None,
        padding=(0, 1),
    )
    for name in ("trial", "value", spread, *(key.partition(".")[2] for key in sweep.space)):
        shown.add_column(name, justify="right")
    for o in ranked(outcomes)[:MOST_SHOWN]:
        between = f"{o.interval[0]:.2f} to {o.interval[1]:.2f}" if o.interval else _each(o)
        params = [_short(o.params[key]) for key in sweep.space]
        shown.add_row(str(o.trial.number), f"{o.value:.2f}", between, *params)
    return shown


def remarks(
    sweep: Sweep, outcomes: Sequence[Outcome], shares: Mapping[str, float] | None
) -> list[str]:
    """What the table does not say: trials that diverged, and the importance of each key."""
    failed = [o for o in outcomes if o.failure is not None]
    lines = [f"trial {o.trial.number}: {o.failure}" for o in failed[:MOST_SHOWN]]
    if len(failed) > MOST_SHOWN:
        lines.append(f"and {len(failed) - MOST_SHOWN} more diverged, see trials.csv")
    if shares is not None:
        order = sorted(shares, key=lambda key: -shares[key])
        named = ", ".join(f"{key.partition('.')[2]} {shares[key]:.0%}" for key in order)
        lines.append(f"importance (PED-ANOVA): {named}")
    return lines


def _each(outcome: Outcome) -> str:
    """The scores of the seeds, where there are several."""
    return ", ".join(map(_short, outcome.seeds)) if len(outcome.seeds) > 1 else "-"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
