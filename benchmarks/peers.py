"""The libraries to measure beside rljax, and where each of them is installed."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.libraries import LIBRARIES
from benchmarks.rows import Row
from rljax.errors import UsageError, check_known


class Peer(NamedTuple):
    """A library to measure: its Python, and its checkout if it is not installed as a package."""

    name: str
    python: str
    checkout: str | None


def parse(texts: Iterable[str]) -> dict[str, Peer]:
    """Peers from NAME (a library in this environment), NAME=PYTHON or NAME=PYTHON:CHECKOUT.

    Raises UsageError for a library that is not known, and for a path that does not exist.
    """
    found = {}
    for text in texts:
        name, _, place = text.partition("=")
        check_known("peer", name, LIBRARIES)
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
    """Refuse a peer that can do none of the rows."""
    for name in peers:
        if not any(name in row.peers for row in rows):
            raise UsageError(f"peer {name} can do none of the chosen rows: leave it out")
