"""A plot of all results: ratios of speed, and how speed grows with size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.libraries import LIBRARIES, OURS
from benchmarks.result_files import Results
from rljax.analysis.plots import COLOURS
from rljax.errors import RunError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, FAINT, GRID = "#fbfaf7", "#24292f", "#6e7781", "#d8d6d0"
FASTER, SLOWER = COLOURS[0], COLOURS[1]
CURVES = {"environments": "environments, PPO", "seeds": "seeds, PPO 4x128"}
BAR_INCHES = 0.245


class Bar(NamedTuple):
    """The ratio of one row and library."""

    row: str
    beside: str
    ratio: float
    low: float
    high: float


def picture(found: Sequence[Results]) -> "Figure":
    """Bars of ratios, and steps/s against the number of environments and of seeds.

    Each of `found` is a machine. The plot has a background of its own, so that it can be read on a
    light page and on a dark one. Raises RunError if there is nothing to plot.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    machines = [(name(results), bars(results)) for results in found]
    lines = {of: [curve(results, of) for results in found] for of in CURVES}
    lines = {of: each for of, each in lines.items() if any(each)}
    rows = sum(len(group) + 1 for _, group in machines)
    if rows == len(machines):
        raise RunError("these results have no ratio to plot: measure with --peer")
    style: dict[Any, Any] = {
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": FAINT,
        "axes.edgecolor": GRID,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": FAINT,
        "ytick.labelcolor": FAINT,
    }
    with rc_context(style):
        figure = Figure(
            figsize=(10.5, max(5.0 if lines else 0.0, 1.25 + BAR_INCHES * rows)), dpi=160
        )
        _card(figure)
        grid = figure.add_gridspec(
            max(1, len(lines)),
            2 if lines else 1,
            width_ratios=(1.25, 1) if lines else (1,),
            left=0.27,
            right=0.965,
            top=1 - 0.5 / figure.get_figheight(),
            bottom=0.45 / figure.get_figheight(),
            wspace=0.2,
            hspace=0.3,
        )
        _bars(figure.add_subplot(grid[:, 0]), machines)
        for index, (of, each) in enumerate(lines.items()):
            labels = [machine for machine, _ in machines]
            _curves(figure.add_subplot(grid[index, 1]), CURVES[of], each, labels)
    return figure


def name(results: Results) -> str:
    """The name of a machine: its accelerator, or its processor and cores."""
    for row in results["rows"]:
        for device in row["sides"][OURS].get("devices", []):
            platform, _, kind = device.partition(": ")
            if platform != "cpu":
                return kind
    machine = results["machine"]
    return f"{machine['processor']}, {machine['cores']} cores"


def bars(results: Results) -> list[Bar]:
    """Ratios to other libraries, in the order of the rows."""
    return [
        Bar(row["row"], beside, **numbers)
        for row in results["rows"]
        for beside, numbers in row["ratios"].items()
        if beside in LIBRARIES
    ]


def curve(results: Results, of: str) -> list[tuple[int, float]]:
    """Size and median rate of rljax in the rows in which `of` grows."""
    return sorted(
        (row["curve"]["at"], row["sides"][OURS]["median"])
        for row in results["rows"]
        if row["curve"] and row["curve"]["of"] == of and not row["sides"][OURS]["failure"]
    )


def short(number: float) -> str:
    """200, 1k, 16k, 2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.0f}{letter}" if scaled >= 10 else f"{scaled:.2g}{letter}"
    return f"{number:g}"


def _card(figure: "Figure") -> None:
    from matplotlib.patches import FancyBboxPatch

    figure.patch.set_alpha(0)
    width, height = figure.get_size_inches()
    figure.add_artist(
        FancyBboxPatch(
            (0.0, 0.0),
            width,
            height,
            boxstyle="round,pad=-0.03,rounding_size=0.14",
            transform=figure.dpi_scale_trans,
            facecolor=PAPER,
            edgecolor=GRID,
            linewidth=0.8,
            zorder=-1,
        )
    )


def _bars(axes: "Axes", machines: Sequence[tuple[str, list[Bar]]]) -> None:
    """Bars that begin at 1, on a logarithmic scale: twice and half as fast are equally far."""
    at = 0

    def label(text: str, offset: float, **style: Any) -> None:
        """Text to the left of the axes."""
        axes.annotate(
            text,
            (0, at),
            xytext=(offset, 0),
            textcoords="offset points",
            xycoords=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            **style,
        )

    for machine, group in machines:
        label(machine, -6, weight="bold")
        at += 1
        for bar in group:
            colour = FASTER if bar.ratio >= 1 else SLOWER
            axes.barh(at, bar.ratio - 1, left=1, height=0.68, color=colour, linewidth=0)
            axes.plot([bar.low, bar.high], [at, at], color=INK, linewidth=0.9, alpha=0.55)
            end = max(bar.ratio, bar.high, 1.0)
            axes.annotate(
                f"{bar.ratio:.2f}" if bar.ratio < 10 else f"{bar.ratio:.0f}",
                (end, at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
            label(LIBRARIES[bar.beside].title, -6, color=FAINT)
            label(bar.row, -78)
            at += 1
    ratios = [x for _, group in machines for bar in group for x in (bar.low, bar.high)]
    axes.set_xscale("log")
    axes.set_xlim(min([0.8, *(x / 1.15 for x in ratios)]), max([4.0, *(x * 1.7 for x in ratios)]))
    axes.set_ylim(max(at, 2) - 0.4, -0.6)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_title("times as fast as others on the same work", loc="left", fontsize=11)
    least, most = axes.get_xlim()
    ticks = [t for t in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if least <= t <= most]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks([])
    axes.minorticks_off()
    _plain(axes, "x")
    axes.spines["left"].set_visible(False)


def _curves(axes: "Axes", title: str, lines: Sequence[Any], labels: Sequence[str]) -> None:
    from matplotlib.ticker import LogLocator

    for colour, label, points in zip(COLOURS, labels, lines, strict=False):
        if not points:
            continue
        sizes, rates = zip(*points, strict=True)
        axes.plot(sizes, rates, "o-", color=colour, markersize=3.5, linewidth=1.8, label=label)
        best = max(points, key=lambda point: point[1])
        axes.annotate(
            short(best[1]),
            best,
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=colour,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    all_sizes = sorted({size for points in lines for size, _ in points})
    shown = all_sizes[:: max(1, len(all_sizes) // 5)]
    axes.set_xticks(shown, [f"{size // 1024}k" if size >= 1024 else f"{size}" for size in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda rate, _: short(rate))
    axes.margins(y=0.2)
    axes.set_title(f"steps/s by number of {title}", loc="left", fontsize=11)
    _plain(axes, "both")
    if len(labels) > 1:
        axes.legend(frameon=False, fontsize=8.5)


def _plain(axes: "Axes", grid: str) -> None:
    axes.set_facecolor("none")
    axes.grid(axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
