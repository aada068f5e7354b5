"""Pictures of a sweep: parallel coordinates, and the objective over each key."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rljax.analysis.plots import COLOURS, estimate, save
from rljax.errors import ceil_div
from rljax.training.rows import Row
from rljax.tune.directory import SweepDirectory
from rljax.tune.settings import Sweep
from rljax.tune.space import Choice, Distribution, Range
from rljax.tune.trials import Outcome, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#9a9a9a"
PAPER = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
MAP = "viridis"


def draw(found: SweepDirectory, sweep: Sweep, outcomes: Sequence[Outcome]) -> None:
    """Write both pictures into the sweep's directory; at least one trial must have a value."""
    save(draw_parallel(sweep, outcomes), found.parallel)
    save(draw_responses(sweep, outcomes), found.responses)


def draw_parallel(sweep: Sweep, outcomes: Sequence[Outcome]) -> "Figure":
    """A line for each trial, through its place on every key's axis to its value.

    Good trials are drawn last and in light colours; those that diverged are grey and end before
    the value.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    keys = list(sweep.space)
    good = ranked(outcomes)[::-1]
    values = np.array([o.value for o in good], float)
    norm = Normalize(values.min(), values.max())
    figure = Figure(figsize=(2.2 + 1.7 * (len(keys) + 1), 4.4), dpi=140, layout="constrained")
    axes = figure.subplots()
    colours = ScalarMappable(norm, MAP)
    for o in outcomes:
        if o.value is None:
            axes.plot(_places(sweep, o), color=GREY, linewidth=0.8, linestyle=":")
    for o, value in zip(good, values, strict=True):
        end = float(norm(value)) if values.min() < values.max() else 0.5
        axes.plot([*_places(sweep, o), end], color=colours.to_rgba(value), linewidth=1.3)
    for x, key in enumerate(keys):
        _scale(axes, x, sweep.space[key])
    axes.set_xticks(range(len(keys) + 1), [*map(_name, keys), "value"])
    for x in range(len(keys) + 1):
        axes.axvline(x, color="#333333", linewidth=0.8, zorder=0)
    axes.set(ylim=(-0.06, 1.06), xlim=(-0.35, len(keys) + 0.15), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(_title(sweep, outcomes), fontsize=9, loc="left")
    figure.colorbar(colours, ax=axes, label=_value_name(sweep), pad=0.01)
    return figure


def draw_responses(sweep: Sweep, outcomes: Sequence[Outcome]) -> "Figure":
    """A panel for each key: the value of every trial over it, with its interval over seeds.

    Of trials with few seeds each is a small point. Trials that diverged are crosses at the lower
    edge.
    """
    from matplotlib.figure import Figure

    keys = list(sweep.space)
    columns = min(3, len(keys))
    rows = ceil_div(len(keys), columns)
    size = (1.2 + 3.3 * columns, 0.7 + 2.9 * rows)
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    good = ranked(outcomes)
    values = np.array([o.value for o in good], float)
    ends = np.array([o.interval or (o.value, o.value) for o in good])
    reach = np.stack([values - ends[:, 0], ends[:, 1] - values]).clip(min=0)
    few = [(i, seed) for i, o in enumerate(good) if not o.interval for seed in o.seeds]
    lost = [o for o in outcomes if o.value is None]
    for axes, key in zip(panels, keys, strict=False):
        distribution = sweep.space[key]
        x = [_position(distribution, o.params[key]) for o in good]
        axes.errorbar(
            x, values, reach, fmt="o", color=COLOURS[0], markersize=4, elinewidth=0.8, alpha=0.8
        )
        axes.plot(x[:1], values[:1], "o", color=COLOURS[1], markersize=7, zorder=3)
        at = [x[i] for i, _ in few]
        axes.plot(at, [s for _, s in few], ".", color=COLOURS[0], markersize=3, alpha=0.5)
        if isinstance(distribution, Range):
            axes.set_xscale(distribution.scale)
        if lost:
            x = [_position(distribution, o.params[key]) for o in lost]
            bottom = axes.get_xaxis_transform()
            axes.plot(x, np.zeros(len(x)), "x", color=GREY, transform=bottom, clip_on=False)
        if isinstance(distribution, Choice):
            axes.set_xticks(range(len(distribution.values)), map(_text, distribution.values))
        axes.set_xlabel(_name(key))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel(_value_name(sweep))
    figure.suptitle(_title(sweep, outcomes), fontsize=9, x=0.01, ha="left")
    return figure


def draw_schedule(sweep: Sweep, rows: Sequence[Row], best: Outcome) -> "Figure":
    """The hyperparameters of a population over environment steps: its members, and how the best
    of them came to be."""
    from matplotlib.figure import Figure

    from rljax.tune.pbt import lineage

    keys = list(sweep.space)
    figure = Figure(figsize=(6.4, 0.6 + 2.1 * len(keys)), dpi=140, layout="constrained")
    panels = figure.subplots(len(keys), 1, squeeze=False, sharex=True).ravel()
    steps = np.array([row["env_steps"] for row in rows])
    parents = np.array([row["population/parent"] for row in rows], float)
    places = lineage(parents, best.trial.number)
    for axes, key in zip(panels, keys, strict=True):
        distribution = sweep.space[key]
        values = np.array([row[f"population/{_name(key)}"] for row in rows], float)
        axes.plot(steps, values, color=GREY, linewidth=0.6, alpha=0.6, drawstyle="steps-post")
        line = values[np.arange(len(rows)), places]
        axes.plot(steps, line, color=COLOURS[0], linewidth=1.8, drawstyle="steps-post")
        if isinstance(distribution, Range):
            axes.set_yscale(distribution.scale)
        axes.set_ylabel(_name(key))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("environment steps of a member")
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(
        f"{len(parents[0])} members, and the line that led to the best of them",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return figure


def _title(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    top, settings = sweep.config.top, sweep.settings
    episodes = outcomes[0].episodes
    failed = sum(o.value is None for o in outcomes)
    diverged = f", {failed} diverged (grey)" if failed else ""
    return (
        f"{top.agent} on {top.env}: {len(outcomes)} trials{diverged}, "
        f"{estimate(settings.seeds, settings.objective)}, {episodes} episodes each"
    )


def _value_name(sweep: Sweep) -> str:
    settings = sweep.settings
    return f"mean return, {estimate(settings.seeds, settings.objective)}"


def _name(key: str) -> str:
    return key.partition(".")[2]


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _position(distribution: Distribution, value: object) -> float:
    """Where a value stands on an axis: of a choice, which of them it is."""
    if isinstance(distribution, Choice):
        return float(distribution.values.index(value))
    assert isinstance(value, float)
    return value


def _places(sweep: Sweep, outcome: Outcome) -> list[float]:
    """Where a trial crosses the axis of each key, from 0 to 1."""
    return [_place(d, outcome.params[key]) for key, d in sweep.space.items()]


def _place(distribution: Distribution, value: object) -> float:
    position = _position(distribution, value)
    if isinstance(distribution, Choice):
        return position / (len(distribution.values) - 1) if len(distribution.values) > 1 else 0.5
    low, high = distribution.low, distribution.high
    if distribution.scale == "log":
        low, high, position = math.log(low), math.log(high), math.log(position)
    return (position - low) / (high - low)


def _scale(axes: "Axes", x: float, distribution: Distribution) -> None:
    """Write an axis's ends, or all of its choices, beside it."""
    shown = (
        distribution.values
        if isinstance(distribution, Choice)
        else (distribution.low, distribution.high)
    )
    for value in shown:
        y = _place(distribution, value)
        axes.text(x - 0.03, y, _text(value), ha="right", va="center", bbox=PAPER, fontsize=7)
