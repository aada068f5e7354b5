"""The JSON file of a machine's results."""

import json
import os
import platform
from pathlib import Path
from typing import Any

from rljax.errors import RunError
from rljax.experiments.directory import write_atomically
from rljax.experiments.machine import processor

SCHEMA = 1
Result = dict[str, Any]  # of one row, as `measuring.measure` gives it
Results = dict[str, Any]  # schema, machine, and rows


def machine() -> dict[str, Any]:
    """The machine, without its accelerators: the sides of each row name their devices."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
    }


def load(path: Path) -> Results:
    """The results in a file. Raises RunError if it has none, or has another schema."""
    try:
        results = json.loads(path.read_text())
        schema = results["schema"]
    except OSError as error:
        raise RunError(f"results {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path} has no results of `rljax bench --json`") from None
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}, but this version reads schema {SCHEMA}: measure again"
        )
    return results


def begin(path: Path | None) -> Results:
    """The results to add rows to: those in the file, or none if it does not exist.

    Raises RunError if they were measured on another machine, or the file cannot be written.
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
    """Add a row, or replace the row of the same name."""
    names = [row["row"] for row in results["rows"]]
    if result["row"] in names:
        results["rows"][names.index(result["row"])] = result
    else:
        results["rows"].append(result)


def save(results: Results, path: Path) -> None:
    """Write the whole file atomically. Raises RunError if that fails."""
    try:
        write_atomically(path, json.dumps(results, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None


def failures(results: Results) -> list[str]:
    """One sentence for each side that failed or had a wrong result."""
    return [
        f"{row['row']}: {side['failure']}"
        for row in results["rows"]
        for side in row["sides"].values()
        if side["failure"]
    ]
