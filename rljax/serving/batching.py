"""Requests that arrive together are one batch of the policy."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rljax import _cpu
from rljax.exports.interface import Interface
from rljax.serving.messages import Refusal, Request
from rljax.serving.sessions import Sessions

LOGGER = logging.getLogger("rljax.serving")
GROWTH = 4  # from one size of a batch to the next


class CompiledPolicy:
    """A policy compiled for batches of a few sizes; what is in between is padded with zeros.

    Args:
        policy: the policy; an error of its network is raised here, not in a request.
        most: the largest size.
    """

    def __init__(self, policy: Interface, most: int) -> None:
        self.sizes = _sizes(most)
        self._inputs = policy.inputs
        self._compiled = {}
        for size in self.sizes:
            program = jax.jit(policy.function).lower(*policy.arguments(size))
            options = _cpu.options_of(program, jax.devices()[0])
            self._compiled[size] = program.compile(options)

    def __call__(self, arrays: Sequence[Sequence[np.ndarray] | np.ndarray]) -> list[np.ndarray]:
        """For each input an array [B, ...], or B arrays [...], to the outputs [B, ...]."""
        count = len(arrays[0])
        size = next(size for size in self.sizes if size >= count)
        padded = [np.zeros((size, *each.shape), each.dtype) for each in self._inputs]
        for room, given in zip(padded, arrays, strict=True):
            room[:count] = given
        return [x[:count] for x in jax.device_get(self._compiled[size](*padded))]


def _sizes(most: int) -> list[int]:
    size, sizes = 1, []
    while size < most:
        sizes.append(size)
        size *= GROWTH
    return [*sizes, most]


class _Waiting(NamedTuple):
    request: Request
    answer: asyncio.Future


class Batcher:
    """Answers requests in batches, in the thread of the event loop.

    A batch has what has arrived when the loop comes to it, so that nobody waits for a batch to
    fill. Between two batches the loop reads what arrived meanwhile. The requests of a session are
    answered in their order, each in a batch of its own.

    Args:
        policy: the compiled policy.
        sessions: carries, of a policy that has any, at least as many as a batch is large.
        most_waiting: how many requests may wait; one more is refused.
        report: told the size of each batch.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        sessions: Sessions | None,
        most_waiting: int,
        report: Callable[[int], None],
    ) -> None:
        self._policy = policy
        self._sessions = sessions
        self._most_waiting = most_waiting
        self._report = report
        self._queue: deque[_Waiting] = deque()
        self._is_due = False

    def __len__(self) -> int:
        return len(self._queue)

    async def act(self, request: Request) -> Any:
        """The action as plain Python numbers; raises Refusal."""
        if len(self._queue) >= self._most_waiting:
            raise Refusal(f"{len(self._queue)} requests wait already: ask again later", 503)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._queue.append(_Waiting(request, answer))
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._run, loop)
        return await answer

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, rows = self._next_batch()
        if batch:
            self._report(len(batch))
            try:
                actions = self._actions(batch, rows)
            except Exception:
                LOGGER.exception("the policy failed for a batch of %d requests", len(batch))
                for each in batch:
                    each.answer.set_exception(Refusal("the policy failed: see the log", 500))
            else:
                finite = np.isfinite(actions).reshape(len(batch), -1).all(axis=1)
                for each, action, is_finite in zip(batch, actions.tolist(), finite, strict=True):
                    if is_finite:
                        each.answer.set_result(action)
                    else:
                        each.answer.set_exception(Refusal("the action is not finite", 500))
        self._is_due = bool(self._queue)
        if self._is_due:
            loop.call_soon(self._run, loop)

    def _next_batch(self) -> tuple[list[_Waiting], list[int]]:
        """Requests of different sessions, and the rows of these."""
        batch: list[_Waiting] = []
        rows: dict[Any, int] = {}
        later = []
        while self._queue and len(batch) < self._policy.sizes[-1]:
            each = self._queue.popleft()
            session = each.request.session
            if each.answer.done():  # Its request was cancelled.
                continue
            if session in rows:
                later.append(each)
                continue
            if self._sessions is not None:
                try:
                    rows[session] = self._sessions.row(session, each.request.begins)
                except Refusal as refusal:
                    each.answer.set_exception(refusal)
                    continue
            batch.append(each)
        self._queue.extendleft(reversed(later))
        return batch, list(rows.values())

    def _actions(self, batch: Sequence[_Waiting], rows: Sequence[int]) -> np.ndarray:
        arrays: list[Any] = list(zip(*(each.request.arrays for each in batch), strict=True))
        if self._sessions is None:
            return self._policy(arrays)[0]
        actions, *carries = self._policy([*arrays, *self._sessions.carries(rows)])
        self._sessions.keep(rows, carries)
        return actions
