"""Measures a row: sides take turns (A B A B), each in a fresh process of its own environment."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rljax
from benchmarks.libraries import LIBRARIES, OURS
from benchmarks.peers import Peer
from benchmarks.rows import Row
from rljax.errors import RunError

SIDES = Path(__file__).parent / "sides"
LIMIT_SECONDS = 900  # of one process; a hang must not stop the rows behind it

Say = Callable[[str], None]


def measure(row: Row, peers: Mapping[str, Peer], repeats: int, say: Say) -> dict[str, Any]:
    """Measure each side of a row `repeats` times, and compare.

    A side that fails is not measured again. If it is rljax itself, no side is.
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
    """The answer of one process of a side. Raises RunError, with one sentence, if there is none."""
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
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise RunError(f"{name} ended with code {done.returncode} and no answer: {reason}")
    try:
        return json.loads(lines[-1])
    except json.JSONDecodeError:
        raise RunError(f"{name} gave no JSON as its last line, but {lines[-1][:80]!r}") from None


def value(unit: str, answer: Mapping[str, Any]) -> float:
    """What one process measured in the best of its runs: a duration or a rate."""
    best = min(answer["seconds"])
    return best if unit == "s" else answer["amount"] / best


def ratio(unit: str, ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast rljax is: by the medians, and the lowest and highest of all pairs.

    A pair is a process of ours and the process of the other side that ran next to it.
    """

    def one(ours: float, theirs: float) -> float:
        return theirs / ours if unit == "s" else ours / theirs

    pairs = [one(*pair) for pair in zip(ours, theirs, strict=False)]
    middle = one(statistics.median(ours), statistics.median(theirs))
    return {"ratio": middle, "low": min(pairs), "high": max(pairs)}


def _side(row: Row, name: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The medians over the processes of one side, and their spread."""
    values = [value(row.unit, answer) for answer in answers]
    side: dict[str, Any] = {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "values": values,
        "failure": None,
    }
    if (
        "result" not in answers[0]
    ):  # Measured in the process of another side, whose result is checked.
        return side
    result = statistics.median(answer["result"] for answer in answers)
    compiling = [answer["compile_seconds"] for answer in answers]
    if not row.least <= result <= row.most:
        most = "" if row.most == math.inf else f" and at most {row.most:g}"
        side["failure"] = (
            f"the result of {name} is {result:g}, but should be at least {row.least:g}{most}: "
            "its speed does not count"
        )
    return side | {
        "result": result if math.isfinite(result) else None,
        "compile_seconds": None if None in compiling else statistics.median(compiling),
        "peak_memory_bytes": statistics.median(a["peak_memory_bytes"] for a in answers),
        "versions": answers[0]["versions"],
        "devices": answers[0]["devices"],
        "unlike": LIBRARIES[name].unlike if name in LIBRARIES else None,
    }
