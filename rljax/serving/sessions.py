"""The carries of a policy with a memory, one for each session."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from rljax.serving.messages import Refusal, Session


class Sessions:
    """Carries by session, in memory that does not grow.

    A session begins with a request that says so. When there is no room, the session that was idle
    longest makes room. A session that was removed, or never began, is refused: with another carry
    its actions would be wrong, and nobody would know.

    Args:
        initial_carry: with which an episode begins, leaves [...].
        most: how many sessions are kept.
        idle_seconds: after which a session is removed.
        clock: the time in seconds.
    """

    def __init__(
        self,
        initial_carry: Any,
        most: int,
        idle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._initial = [np.asarray(x) for x in jax.tree.leaves(initial_carry)]
        self._carries = [np.zeros((most, *x.shape), x.dtype) for x in self._initial]
        self._rows: OrderedDict[Session, tuple[int, float]] = OrderedDict()
        """Row and time of the last use, by session; the one that was idle longest comes first."""
        self._free = list(range(most))
        self._idle_seconds = idle_seconds
        self._clock = clock

    def __len__(self) -> int:
        self._remove_idle(self._clock())
        return len(self._rows)

    def row(self, session: Session, begins: bool) -> int:
        """The row of a session, which has the initial carry if an episode begins.

        Raises Refusal for a session that is not known, unless it begins.
        """
        now = self._clock()
        self._remove_idle(now)
        row, _ = self._rows.pop(session, (None, now))
        if row is None:
            if not begins:
                raise Refusal(
                    f"session {session!r} is not known: it has not begun, has been idle for "
                    f"{self._idle_seconds:g} s, or made room for another; begin an episode with "
                    "reset = true",
                    409,
                )
            if not self._free:
                self._remove_first()
            row = self._free.pop()
        self._rows[session] = row, now
        if begins:
            for carries, initial in zip(self._carries, self._initial, strict=True):
                carries[row] = initial
        return row

    def carries(self, rows: Sequence[int]) -> list[np.ndarray]:
        """The carries [B, ...] of these rows."""
        return [x[rows] for x in self._carries]

    def keep(self, rows: Sequence[int], carries: Sequence[np.ndarray]) -> None:
        """Replace the carries of these rows by others, [B, ...]."""
        for kept, x in zip(self._carries, carries, strict=True):
            kept[rows] = x

    def _remove_idle(self, now: float) -> None:
        while self._rows:
            _, used = next(iter(self._rows.values()))
            if now - used <= self._idle_seconds:
                return
            self._remove_first()

    def _remove_first(self) -> None:
        _, (row, _) = self._rows.popitem(last=False)
        self._free.append(row)
