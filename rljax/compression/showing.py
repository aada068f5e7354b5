"""What a compression came to, for people: a table, and a plot of return against bytes."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(summary: dict[str, Any]) -> None:
    """A row for each step of the way."""
    table = Table(title=f"{summary['agent']} on {summary['environment']}")
    for name in ("policy", "return", "95% interval", "parameters", "not 0", "operations", "bytes"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for batch in summary["stages"][0]["latency_us"]:
        table.add_column(f"µs, batch {batch}", justify="right")
    for stage in summary["stages"]:
        bounds = stage["returns"]["interval"]
        table.add_row(
            stage["name"],
            f"{stage['returns']['mean']:.2f}",
            "-" if bounds is None else f"{bounds[0]:.2f} to {bounds[1]:.2f}",
            *(f"{stage[name]:,}" for name in ("parameters", "nonzero", "operations", "bytes")),
            *(f"{number:.1f}" for number in stage["latency_us"].values()),
        )
    Console().print(table)


def draw(summary: dict[str, Any], out: Path) -> None:
    """Return against bytes, a point for each step of the way and each seed."""
    from matplotlib.figure import Figure

    from rljax.analysis import plots

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for stage in summary["stages"]:
        scores = stage["returns"]["seeds"]
        drawn = axes.plot(stage["bytes"], stage["returns"]["mean"], "o", label=stage["name"])
        axes.plot(
            [stage["bytes"]] * len(scores), scores, ".", alpha=0.3, color=drawn[0].get_color()
        )
    axes.set_xscale("log")
    axes.set_xlabel("bytes of the policy as a C file")
    axes.set_ylabel("return")
    axes.set_title(f"{summary['agent']} on {summary['environment']}")
    axes.legend()
    plots.save(figure, out)
