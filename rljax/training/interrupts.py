"""Ctrl-C and SIGTERM, noted while a chunk runs instead of raised within it."""

import signal
from collections.abc import Sequence
from types import FrameType
from typing import Any

from rljax.parallel import processes


class Interrupts:
    """Within it, the first Ctrl-C or SIGTERM is noted instead of raised; a second Ctrl-C raises.

    `noted` is the signal that this process has heard of, 0 if none; `received` the one that all
    processes of a run had heard of when they last agreed.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self.noted = 0
        self.received: int | None = None
        self._signals = signals
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for number in self._signals:
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # Only the main thread may listen.
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agree(self) -> None:
        """Let every process know of a signal that has reached one of them."""
        self.received = processes.largest(self.noted) or None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = number


def unheard() -> tuple[int, ...]:
    """Ctrl-C, if nobody listens to it: it would be raised wherever the program happens to be."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return (signal.SIGINT,) if is_default else ()
