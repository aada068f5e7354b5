"""Learning curves: interquartile means over seeds, with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rljax.errors import RunError, UsageError
from rljax.runs import directory, metrics
from rljax.runs.directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
EVALUATED, TRAINING = "evaluation/return_mean", "charts/episodic_return"


def series(rows: Sequence[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps [K] and values [K, seeds] of the rows that have `name`."""
    rows = [row for row in rows if row.get(name) is not None]
    if not rows:
        return np.zeros(0), np.zeros((0, 0))
    values = [np.atleast_1d(np.array(row[name], dtype=float)) for row in rows]
    return np.array([row["env_steps"] for row in rows]), np.array(values).reshape(len(rows), -1)


def interquartile_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half."""
    from scipy.stats import trim_mean

    return trim_mean(values, 0.25, axis=axis)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile bootstrap interval of the interquartile mean over seeds, [K] each."""
    from scipy.stats import bootstrap

    result = bootstrap(
        (values,),
        interquartile_mean,
        axis=-1,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return result.confidence_interval.low, result.confidence_interval.high


def draw(runs: Sequence[RunDirectory], out: Path) -> None:
    """Draw the learning curves of runs as a PNG; runs that differ by seed alone are one curve.

    Points and bands are evaluations: full episodes, the interquartile mean over seeds and its 95%
    bootstrap interval. The thin line is the return of the episodes that ended while training.
    """
    from matplotlib.figure import Figure

    if out.suffix != ".png":
        raise UsageError(f"a picture is a .png file, not {str(out)!r}")
    figure = Figure(figsize=(7.2, 4.2), dpi=140, layout="constrained")
    axes = figure.subplots()
    groups = _groups(runs)
    for colour, (label, members) in zip(COLOURS * len(groups), groups.items(), strict=False):
        _curve(axes, members, label, colour, len(groups) == 1)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return of an episode")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    save(figure, out)


def save(figure: "Figure", out: Path) -> None:
    """Write a figure as a PNG, all of it or nothing. Raises RunError where that cannot be done."""
    draft = out.with_name(out.name + ".tmp")
    try:
        figure.savefig(draft, format="png")
        draft.replace(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}") from None


def _curve(axes, members: Sequence[RunDirectory], label: str, colour: str, alone: bool) -> None:
    rows = [metrics.read(run.metrics) for run in members]
    steps, training = _together([series(r, TRAINING) for r in rows])
    thin = {"color": colour, "linewidth": 0.9, "alpha": 0.4}
    if len(steps):
        some = ~np.isnan(training).all(1)  # rows in which an episode ended
        middle = [interquartile_mean(v[~np.isnan(v)]) for v in training[some]]
        axes.plot(
            steps[some], middle, label="episodes ended while training" if alone else None, **thin
        )
    steps, evaluated = _together([series(r, EVALUATED) for r in rows])
    if not len(steps):
        return
    seeds = evaluated.shape[1]
    name = f"{label}: evaluation, " + ("1 seed" if seeds == 1 else f"IQM of {seeds} seeds")
    axes.plot(steps, interquartile_mean(evaluated), "o-", color=colour, markersize=3.5, label=name)
    if seeds > 1 and len(steps):
        axes.fill_between(steps, *interval(evaluated), color=colour, alpha=0.18, linewidth=0)


def _groups(runs: Sequence[RunDirectory]) -> dict[str, list[RunDirectory]]:
    """Label to the runs that differ by nothing but their seeds."""
    own = {"seed", "num_seeds", "checkpoint", "logging"}
    configs = [run.load_config().values() for run in runs]
    kept = [{k: v for k, v in c.items() if k.partition(".")[0] not in own} for c in configs]
    varied = [k for k in kept[0] if any(c.get(k) != kept[0][k] for c in kept)]
    groups: dict[str, list[RunDirectory]] = {}
    for run, config in zip(runs, kept, strict=True):
        differs = [
            f"{k.rpartition('.')[2]}={config.get(k)}" for k in varied if k not in ("env", "agent")
        ]
        label = " ".join([f"{config['agent']} {config['env']}", *differs])
        groups.setdefault(label, []).append(run)
    return groups


def _together(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Series of several runs side by side, at the steps that all of them have."""
    common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in parts)))
    columns = [values[np.isin(steps, common)] for steps, values in parts]
    return np.array(common), np.concatenate(columns, axis=1)


def draw_paths(paths: Sequence[str], out: str) -> None:
    """`draw` for paths from a command line."""
    draw([directory.find(path) for path in paths], Path(out))
