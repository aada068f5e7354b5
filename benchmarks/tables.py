"""Results as a line, as a table for a terminal, and as a table in Markdown."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.libraries import LIBRARIES, OURS
from benchmarks.result_files import Result, Results

if TYPE_CHECKING:
    from rich.table import Table


def measured(side: Mapping[str, Any], row: Result) -> str:
    """The median of a side, rounded: 168,000 steps/s; 82.1 GFLOP/s; 3.62 s."""
    number = side["median"]
    rounded = f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{rounded} {row['unit']}"


def spread(side: Mapping[str, Any]) -> str:
    """The difference between the highest and the lowest, in percent of the median."""
    return f"{(side['high'] - side['low']) / side['median']:.0%}"


def sides(row: Result) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and measurements of each side of a row, rljax first."""
    yield from sorted(row["sides"].items(), key=lambda item: item[0] != OURS)


def line(row: Result) -> str:
    """A row in one line: `ppo 4x128  rljax 168,000 steps/s  purejaxrl 160,000 steps/s (1.05)`."""
    parts = [row["row"]]
    for name, side in sides(row):
        if side["failure"]:
            parts.append(f"{name} failed")
            continue
        times = f" ({row['ratios'][name]['ratio']:.2f})" if name in row["ratios"] else ""
        parts.append(f"{name} {measured(side, row)}{times}")
    return "  ".join(parts)


def table(results: Results) -> "Table":
    """All rows, for a terminal."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("row", no_wrap=True)
    table.add_column("side", no_wrap=True)
    for title in ("median", "spread", "compiling", "memory", "result", "ratio"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in results["rows"]:
        for index, (name, side) in enumerate(sides(row)):
            first = row["row"] if index == 0 else ""
            if side["failure"]:
                table.add_row(first, name, "[red]failed[/red]")
                continue
            times = row["ratios"].get(name)
            compiling, memory = side.get("compile_seconds"), side.get("peak_memory_bytes")
            result = side.get("result")
            table.add_row(
                first,
                name,
                measured(side, row),
                spread(side),
                f"{compiling:.1f} s" if compiling is not None else "",
                f"{memory / 2**20:,.0f} MiB" if memory is not None else "",
                f"{result:.4g}" if result is not None else "",
                f"{times['ratio']:.2f}" if times else "",
            )
    return table


def markdown(results: Results) -> str:
    """The rows that were measured with another side, as a table in Markdown."""
    head = results["machine"]
    lines = [
        f"{head['processor']}, {head['cores']} cores; {_computed_on(results)}.",
        "",
        "| row | rljax | other | ratio |",
        "|---|---|---|---|",
    ]
    for row in results["rows"]:
        ours = row["sides"][OURS]
        for name, times in row["ratios"].items():
            theirs = row["sides"][name]
            lines.append(
                f"| `{row['row']}` | {measured(ours, row)} | {_title(name)} "
                f"{measured(theirs, row)} | {times['ratio']:.2f} "
                f"({times['low']:.2f} to {times['high']:.2f}) |"
            )
    unlike = {
        name: side["unlike"]
        for row in results["rows"]
        for name, side in row["sides"].items()
        if side.get("unlike")
    }
    lines += ["", *(f"- {_title(name)} {what}." for name, what in unlike.items())]
    return "\n".join(lines)


def _title(side: str) -> str:
    """The name of a library as it spells it, or of what was measured in our own process."""
    return LIBRARIES[side].title if side in LIBRARIES else f"({side})"


def _computed_on(results: Results) -> str:
    """Devices and versions of rljax's side in the last row that it completed."""
    for row in reversed(results["rows"]):
        side = row["sides"][OURS]
        if not side["failure"]:
            versions = ", ".join(f"{name} {found}" for name, found in side["versions"].items())
            return f"{', '.join(dict.fromkeys(side['devices']))}; {versions}"
    return "nothing measured"
