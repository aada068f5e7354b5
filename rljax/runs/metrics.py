"""metrics.jsonl: one JSON object a row, in the order of training."""

import json
import os
from pathlib import Path
from typing import Any

from rljax.errors import RunError
from rljax.runs.directory import write_atomically


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row, on disk before this returns, so that no checkpoint is ahead of its metrics."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """All rows; a last line cut short by a crash is left out.

    Raises RunError for a file that is missing or damaged, naming the line.
    """
    try:
        lines = path.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    rows = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
            row["iteration"], row["env_steps"]
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{path} is damaged in line {number}") from None
        rows.append(row)
    return rows


def rewind(path: Path, iteration: int) -> None:
    """Drop the rows after `iteration`: they will be written again by the resumed run."""
    kept = [row for row in read(path) if row["iteration"] <= iteration]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
