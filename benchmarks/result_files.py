"""Results: a JSON file for each machine, and the same as a table."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import OURS
from benchmarks.rows import LIBRARIES
from rljax.errors import RunError
from rljax.experiments.directory import write_atomically
from rljax.experiments.machine import processor

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 1
Result = dict[str, Any]  # of one row, as `measuring.measure` gives it
Results = dict[str, Any]  # schema, machine, and rows


def machine() -> dict[str, Any]:
    """The hardware, but for what JAX computes on: each row's sides tell that."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
    }


def load(path: Path) -> Results:
    """The results in a file. Raises RunError for what is no such file, or another schema's."""
    try:
        results = json.loads(path.read_text())
        schema = results["schema"]
    except OSError as error:
        raise RunError(f"results {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path} has no results of `rljax bench --json`") from None
    if schema != SCHEMA:
        raise RunError(f"{path} has schema {schema}, and this is for {SCHEMA}: measure again")
    return results


def begin(path: Path | None) -> Results:
    """What is in the file already, to add to, or nothing.

    Raises RunError where that was measured on another machine, or the file cannot be written.
    """
    fresh = {"schema": SCHEMA, "machine": machine(), "rows": []}
    if path is None:
        return fresh
    if not path.exists():
        save(fresh, path)
        return fresh
    results = load(path)
    if results["machine"] != fresh["machine"]:
        before = results["machine"]["processor"]
        raise RunError(f"{path} was measured on another machine ({before}): choose another --json")
    return results


def add(results: Results, result: Result) -> None:
    """Put a row in, in the place of what there was of that name."""
    names = [row["row"] for row in results["rows"]]
    if result["row"] in names:
        results["rows"][names.index(result["row"])] = result
    else:
        results["rows"].append(result)


def save(results: Results, path: Path) -> None:
    """Write the file, all of it or nothing. Raises RunError where that cannot be done."""
    try:
        write_atomically(path, json.dumps(results, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None


def failures(results: Results) -> list[str]:
    """One sentence for each side that gave no answer, or the wrong one."""
    return [
        f"{row['row']}: {side['failure']}"
        for row in results["rows"]
        for side in row["sides"].values()
        if side["failure"]
    ]


def measured(side: Mapping[str, Any], row: Result) -> str:
    """A side's median for people: 168,000 steps/s; 82.1 GFLOP/s; 3.62 s."""
    number = side["median"]
    rounded = f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{rounded} {row['unit']}"


def spread(side: Mapping[str, Any]) -> str:
    """How far apart the least and the most are, as a part of the median."""
    return f"{(side['high'] - side['low']) / side['median']:.0%}"


def sides(row: Result) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and measurements of a row's sides, our own first."""
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
    """The rows that have another side, as the README has them; each claim names its row."""
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
    """A library's name as it writes it; or what was measured in the same process."""
    return LIBRARIES[side].title if side in LIBRARIES else f"({side})"


def _computed_on(results: Results) -> str:
    """Devices and versions of our own side, as the last row has them."""
    for row in reversed(results["rows"]):
        side = row["sides"][OURS]
        if not side["failure"]:
            versions = ", ".join(f"{name} {found}" for name, found in side["versions"].items())
            return f"{', '.join(dict.fromkeys(side['devices']))}; {versions}"
    return "nothing measured"
