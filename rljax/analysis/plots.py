"""Pictures of runs compared: learning curves, performance profiles, probability of improvement."""

import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rljax import statistics
from rljax.analysis import comparison
from rljax.analysis.comparison import Comparison, Run
from rljax.errors import RunError, UsageError, ceil_div, check_known
from rljax.experiments import directory, metrics
from rljax.experiments.directory import RunDirectory
from rljax.statistics import central, central_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rljax.training.rows import Hook, Row
    from rljax.types import State

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", ":", "-.")  # one for each time round the colours
MOST_PAIRS = 15
SECONDS_BETWEEN_DRAWINGS = 15.0


def draw(runs: Sequence[RunDirectory], out: Path) -> None:
    """Draw the learning curves of runs as a PNG, as `draw_comparison` does."""
    draw_comparison(comparison.compare(runs), out)


def draw_comparison(compared: Comparison, out: Path, kind: str = "curves") -> None:
    """Draw runs as a PNG, those that differ by seed alone together. `kind` is one of KINDS:

    - "curves": every evaluation, `statistics.central` over seeds and its 95% bootstrap interval,
      or a thin line for each of fewer than 5 seeds; a panel for each environment, and one for all
      together where that can be. Of a method alone, a grey line besides: the return of the episodes
      that ended while training, which is for watching.
    - "profile": the fraction of seeds whose last evaluation was above each return.
    - "improvement": how likely a seed of one method beats one of another, for each pair.

    The last two are over all environments together, see `Comparison.scores`. Raises UsageError for
    another kind or ending and for what cannot be compared, RunError where it cannot be written.
    """
    directory.check_out(out, ".png")
    check_known("kind", kind, KINDS)
    save(KINDS[kind](compared), out)


def save(figure: "Figure", out: Path) -> None:
    """Write a figure as a PNG, all of it or nothing. Raises RunError where that cannot be done."""
    draft = out.with_name(out.name + ".tmp")
    try:
        figure.savefig(draft, format="png")
        draft.replace(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}") from None


def pairs(labels: Sequence[str]) -> list[tuple[str, str]]:
    """The methods to compare: all pairs, or, where these are too many, those with the first one.

    Raises UsageError where there is nothing to compare.
    """
    if len(labels) < 2:
        raise UsageError("all these runs are of one method, and there is no other to compare it to")
    found = list(combinations(labels, 2))
    return found if len(found) <= MOST_PAIRS else found[: len(labels) - 1]


def counted(count: int) -> str:
    """How many seeds, in words."""
    return "1 seed" if count == 1 else f"{count} seeds"


def estimate(seeds: int, statistic: str | None = None) -> str:
    """What stands for so many seeds, in words: a name of `statistics.STATISTICS`, and of how many.

    By default it is that of `statistics.central`.
    """
    if seeds == 1:
        return counted(seeds)
    return f"{statistic or central_name(seeds)} of {counted(seeds)}"


def scale_name(compared: Comparison) -> str:
    """What `Comparison.scores` are."""
    return "normalised return" if len(compared.environments) > 1 else "mean return"


def _look(index: int) -> dict[str, Any]:
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": dash}


def panels(wide: int = 1, high: int = 1) -> tuple["Figure", list["Axes"]]:
    """A figure with so many panels beside and above each other, in the look of all plots here."""
    from matplotlib.figure import Figure

    size = (7.2, 4.2) if wide == 1 else (5.2 * wide, 3.7 * high)
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    every = figure.subplots(high, wide, squeeze=False).ravel().tolist()
    for axes in every:
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, every


def _curves(compared: Comparison) -> "Figure":
    environments = compared.environments
    together = pooled(compared)
    count = len(environments) + bool(together)
    wide = min(3, max(1, count))
    figure, drawn = panels(wide, ceil_div(count, wide) or 1)
    methods = [run.method for run in compared.runs]
    if methods and all(method == methods[0] for method in methods):
        _training(drawn[0], compared.runs)
    for axes, (name, groups) in zip(drawn, environments.items(), strict=False):
        axes.set(title=name, ylabel="return of an episode")
        for group in groups:
            look = _look(compared.labels.index(group.label))
            _curve(axes, group.label, group.steps, group.returns[..., None], look)
    for index, (label, (steps, scores)) in enumerate(together.items()):
        axes = drawn[len(environments)]
        axes.set(title=f"all {len(environments)} environments", ylabel="normalised return")
        _curve(axes, label, steps, scores, _look(index))
    for axes in drawn[max(1, count) :]:
        axes.set_visible(False)
    for axes in drawn:
        axes.set_xlabel("environment steps")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(axis="x", labelsize=8)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, loc="best", fontsize=8 if wide > 1 else None)
    return figure


def pooled(compared: Comparison) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`Comparison.curves` over several environments, or nothing where there can be none."""
    if len(compared.environments) < 2:
        return {}
    try:
        return compared.curves()
    except UsageError:
        return {}


def _curve(
    axes: "Axes", label: str, steps: np.ndarray, scores: np.ndarray, look: dict[str, Any]
) -> None:
    *_, seeds, environments = scores.shape
    name = f"{label}: {estimate(seeds)}"
    axes.plot(steps, central(scores), marker="o", markersize=3.5, label=name, **look)
    bounds = statistics.interval(central, scores)
    if bounds is not None:
        axes.fill_between(steps, *bounds, color=look["color"], alpha=0.18, linewidth=0)
    elif seeds > 1 and environments == 1:  # Over several, the panels of each show the seeds.
        axes.plot(steps, scores[..., 0], linewidth=0.7, alpha=0.5, **look)


def _training(axes: "Axes", runs: Sequence[Run]) -> None:
    for index, run in enumerate(runs):
        steps, training = run.series(metrics.TRAINING)
        some = ~np.isnan(training).all(1)  # rows in which an episode ended
        middle = [statistics.central_of_some(values) for values in training[some]]
        axes.plot(
            steps[some],
            middle,
            label=None if index else "episodes ended while training",
            color=COLOURS[0],
            linewidth=0.9,
            alpha=0.4,
        )


def _profile(compared: Comparison) -> "Figure":
    figure, (axes,) = panels()
    scores = compared.scores()
    thresholds = profile_thresholds(scores)
    for index, (label, own) in enumerate(scores.items()):

        def profile(drawn: np.ndarray) -> np.ndarray:
            return statistics.performance_profile(drawn, thresholds)

        look = _look(index)
        axes.plot(thresholds, profile(own), label=f"{label}: {counted(len(own))}", **look)
        bounds = statistics.interval(profile, own)
        if bounds is not None:
            axes.fill_between(thresholds, *bounds, color=look["color"], alpha=0.18, linewidth=0)
    axes.set(xlabel=f"{scale_name(compared)}, s", ylabel="fraction of seeds above s")
    axes.legend(frameon=False)
    return figure


def profile_thresholds(scores: dict[str, np.ndarray]) -> np.ndarray:
    """Where to look at the profiles of some methods: from below all scores to above them, [T]."""
    low, high = (limit([limit(own) for own in scores.values()]) for limit in (np.min, np.max))
    margin = 0.05 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, 201)


def _improvement(compared: Comparison) -> "Figure":
    from matplotlib.figure import Figure

    scores = compared.scores()
    compared_pairs = pairs(list(scores))
    figure = Figure((7.2, 1.3 + 0.45 * len(compared_pairs)), dpi=140, layout="constrained")
    axes = figure.subplots()
    for row, (ours, theirs) in enumerate(compared_pairs):
        both = scores[ours], scores[theirs]
        chance = statistics.probability_of_improvement(*both)
        axes.plot(chance, row, "o", color=COLOURS[0])
        bounds = statistics.interval(statistics.probability_of_improvement, *both)
        if bounds is not None:
            axes.plot(bounds, (row, row), color=COLOURS[0], linewidth=3, alpha=0.4)
    names = [
        f"{ours} ({counted(len(scores[ours]))})\nover {theirs} ({counted(len(scores[theirs]))})"
        for ours, theirs in compared_pairs
    ]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlim=(-0.02, 1.02), xlabel="probability of improvement", ylim=(len(names) - 0.5, -0.5))
    axes.axvline(0.5, color="#9aa1a9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


KINDS = {"curves": _curves, "profile": _profile, "improvement": _improvement}


def drawing(run: RunDirectory) -> "Hook":
    """A hook that refreshes curve.png, at most every 15 seconds: drawing takes a third of one."""
    drawn = time.monotonic()

    def hook(state: "State", row: "Row") -> None:
        nonlocal drawn
        if time.monotonic() - drawn > SECONDS_BETWEEN_DRAWINGS:
            draw([run], run.curve)
            drawn = time.monotonic()

    return hook
