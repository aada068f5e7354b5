"""What a compression came to, for people: a table, and a plot of return against bytes."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(summary: dict[str, Any]) -> None:
    """A column for each step of the way."""
    stages = summary["stages"]
    table = Table(title=f"{summary['agent']} on {summary['environment']}")
    table.add_column("")
    for stage in stages:
        table.add_column(stage["name"], justify="right")
    table.add_row("return", *(f"{stage['returns']['mean']:.2f}" for stage in stages))
    if stages[0]["returns"]["interval"] is not None:
        table.add_row(
            "95% interval",
            *("{:.2f} to {:.2f}".format(*stage["returns"]["interval"]) for stage in stages),
        )
    if stages[0]["kept"]["mean"] is not None:
        table.add_row("return kept", *(f"{stage['kept']['mean']:.1%}" for stage in stages))
        if stages[0]["kept"]["interval"] is not None:
            table.add_row(
                "95% interval",
                *("{:.1%} to {:.1%}".format(*stage["kept"]["interval"]) for stage in stages),
            )
    for name, what in COUNTS.items():
        if stages[0][name] is None:
            continue
        table.add_row(what, *(f"{stage[name]:,}" for stage in stages))
        if name.endswith("bytes"):
            ratios = (f"{stages[0][name] / max(stage[name], 1):.1f}" for stage in stages)
            table.add_row("  times fewer", *ratios)
    for batch in stages[0]["latency_us"]:
        latencies = (f"{stage['latency_us'][batch]:.1f}" for stage in stages)
        table.add_row(f"microseconds, batch of {batch}", *latencies)
    Console().print(table)


COUNTS = {
    "parameters": "parameters",
    "nonzero": "of them not 0",
    "operations": "multiply-adds",
    "bytes": "bytes as a C file",
    "compiled_bytes": "bytes compiled with cc -Os",
    "constant_bytes": "bytes of its constants",
}
"""The counts in the table, and what they are called there."""


def draw(summary: dict[str, Any], out: Path) -> None:
    """Return against bytes, a point for each step of the way and each seed."""
    from rljax.analysis import plots

    figure, (axes,) = plots.panels()
    for number, stage in enumerate(summary["stages"]):
        colour, scores = plots.COLOURS[number % len(plots.COLOURS)], stage["returns"]["seeds"]
        axes.plot([stage["bytes"]] * len(scores), scores, ".", alpha=0.3, color=colour)
        axes.plot(stage["bytes"], stage["returns"]["mean"], "o", color=colour, label=stage["name"])
    axes.set_xscale("log")
    axes.set_xlabel("bytes of the policy as a C file")
    axes.set_ylabel("return")
    axes.set_title(f"{summary['agent']} on {summary['environment']}")
    axes.legend()
    plots.save(figure, out)
