"""The one switch of this package: the environment variable RLJAX_CPU_TUNING, 0 for off.

It is read whenever a program is traced or compiled; programs that exist already stay as they are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_override: ContextVar[bool | None] = ContextVar("rljax_cpu_tuning", default=None)


def is_on() -> bool:
    """Whether programs for CPUs are tuned."""
    override = _override.get()
    return os.environ.get("RLJAX_CPU_TUNING") != "0" if override is None else override


@contextmanager
def tuning(on: bool) -> Iterator[None]:
    """Within it the switch is on or off, whatever the environment variable says."""
    token = _override.set(on)
    try:
        yield
    finally:
        _override.reset(token)
