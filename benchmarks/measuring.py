"""Sides take turns, each time in a fresh process of their own environment: A B A B."""

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rljax
from benchmarks.rows import LIBRARIES, Row
from rljax.errors import RunError, UsageError, nearest

OURS = "rljax"
SIDES = Path(__file__).parent / "sides"
LIMIT_SECONDS = 900  # of one process; a hang must not stop the rows behind it

Say = Callable[[str], None]


class Peer(NamedTuple):
    """A library to measure beside: its Python, and its checkout where it is no package."""

    name: str
    python: str
    checkout: str | None


def peers(texts: Iterable[str]) -> dict[str, Peer]:
    """Peers from NAME, NAME=PYTHON or NAME=PYTHON:CHECKOUT; NAME alone is this very environment.

    Raises UsageError for what nobody knows or what is not there.
    """
    found = {}
    for text in texts:
        name, _, place = text.partition("=")
        if name not in LIBRARIES:
            raise UsageError(f"peer {name!r} is not known{nearest(name, LIBRARIES)}")
        python, _, checkout = place.partition(":")
        executable = shutil.which(os.path.expanduser(python)) if python else sys.executable
        if executable is None:
            raise UsageError(f"--peer {text}: there is no Python at {python}")
        if LIBRARIES[name].has_checkout != bool(checkout):
            form = "=PYTHON:CHECKOUT" if LIBRARIES[name].has_checkout else "=PYTHON"
            raise UsageError(f"--peer {text}: write --peer {name}{form}")
        if checkout and not Path(checkout).expanduser().is_dir():
            raise UsageError(f"--peer {text}: there is no directory {checkout}")
        folder = str(Path(checkout).expanduser()) if checkout else None
        found[name] = Peer(name, executable, folder)
    return found


def check_peers(rows: Sequence[Row], peers: Mapping[str, Peer]) -> None:
    """Refuse a peer that none of the rows is for."""
    for name in peers:
        if not any(name in row.peers for row in rows):
            raise UsageError(
                f"peer {name} has no part in the rows that are asked for: leave it out"
            )


def measure(row: Row, peers: Mapping[str, Peer], repeats: int, say: Say) -> dict[str, Any]:
    """Measure a row, `repeats` times each side, and compare.

    A side that fails is left out of the turns that follow; without rljax itself there are none.
    """
    taking_part = [OURS, *(name for name in row.peers if name in peers)]
    answers: dict[str, list[dict]] = {name: [] for name in taking_part}
    failures: dict[str, str] = {}
    for repeat in range(repeats):
        for name in taking_part:
            if name in failures or OURS in failures:
                continue
            say(f"{row.name}: {name} {repeat + 1}/{repeats}")
            try:
                answer = run(name, peers.get(name), {**row.work, "side": name, "seed": repeat})
            except RunError as error:
                failures[name] = str(error)
                continue
            answers[name].append(answer)
            for other, beside in answer["beside"].items():
                answers.setdefault(other, []).append(beside)
    sides: dict[str, dict[str, Any]] = {
        name: {"failure": failures[name]} if name in failures else _side(row, name, measured)
        for name, measured in answers.items()
        if measured or name in failures
    }
    return {
        "row": row.name,
        "suite": row.suite,
        "unit": row.unit,
        "curve": row.curve and {"of": row.curve[0], "at": row.curve[1]},
        "work": row.work,
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sides": sides,
        "ratios": {
            name: ratio(row.unit, sides[OURS]["values"], side["values"])
            for name, side in sides.items()
            if name != OURS and not side["failure"] and not sides[OURS]["failure"]
        },
    }


def run(name: str, peer: Peer | None, work: Mapping[str, Any]) -> dict[str, Any]:
    """One process of one side: its answer. Raises RunError, in one sentence, if it has none."""
    script = LIBRARIES[peer.name].script if peer else f"run_{OURS}"
    command = [peer.python if peer else sys.executable, str(SIDES / f"{script}.py")]
    command += [json.dumps(work), *([peer.checkout] if peer and peer.checkout else [])]
    # Each side finds its own packages only, and compiles everything anew.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if peer is None:
        environment["PYTHONPATH"] = str(Path(rljax.__file__).parent.parent)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{name} was stopped after {LIMIT_SECONDS} s without an answer") from None
    except OSError as error:
        raise RunError(f"{name} cannot be started: {error}") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunError(f"{name} ended with code {done.returncode} and no answer: {reason}")
    try:
        return json.loads(lines[-1])
    except json.JSONDecodeError:
        raise RunError(f"{name} gave no JSON as its last line, but {lines[-1][:80]!r}") from None


def value(unit: str, answer: Mapping[str, Any]) -> float:
    """What one process came to, by the best of its runs: a duration, or a rate."""
    best = min(answer["seconds"])
    return best if unit == "s" else answer["amount"] / best


def ratio(unit: str, ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast we are: of the medians; least and most of the pairs side by side."""

    def one(ours: float, theirs: float) -> float:
        return theirs / ours if unit == "s" else ours / theirs

    pairs = [one(*pair) for pair in zip(ours, theirs, strict=False)]
    middle = one(statistics.median(ours), statistics.median(theirs))
    return {"ratio": middle, "low": min(pairs), "high": max(pairs)}


def _side(row: Row, name: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the processes of one side came to: medians, and their spread."""
    values = [value(row.unit, answer) for answer in answers]
    side: dict[str, Any] = {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "values": values,
        "failure": None,
    }
    if "result" not in answers[0]:  # It was measured beside another, whose result counts.
        return side
    result = statistics.median(answer["result"] for answer in answers)
    compiling = [answer["compile_seconds"] for answer in answers]
    if not row.least <= result <= row.most:
        most = "" if row.most == math.inf else f" and at most {row.most:g}"
        side["failure"] = (
            f"{name} came to a result of {result:g}, where it should be at least {row.least:g}"
            f"{most}: its speed does not count"
        )
    return side | {
        "result": result if math.isfinite(result) else None,
        "compile_seconds": None if None in compiling else statistics.median(compiling),
        "peak_memory_bytes": statistics.median(a["peak_memory_bytes"] for a in answers),
        "versions": answers[0]["versions"],
        "devices": answers[0]["devices"],
        "unlike": LIBRARIES[name].unlike if name in LIBRARIES else None,
    }
