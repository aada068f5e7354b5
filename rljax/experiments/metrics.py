"""metrics.jsonl: one JSON object a row, in the order of training."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rljax.errors import RunError
from rljax.experiments.directory import write_atomically

EVALUATED, SUCCESS_RATE = "evaluation/return_mean", "evaluation/success_rate"
TRAINING = "charts/episodic_return"


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


def series(rows: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps [K] and values [K, seeds] of the rows that have `name`."""
    rows = [row for row in rows if row.get(name) is not None]
    if not rows:
        return np.zeros(0), np.zeros((0, 0))
    values = [np.atleast_1d(np.array(row[name], dtype=float)) for row in rows]
    return np.array([row["env_steps"] for row in rows]), np.array(values).reshape(len(rows), -1)
