"""A crew of actors: one call each at a time, and a new actor where one failed, died or hangs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rljax.distributed.actors import Actor
from rljax.distributed.drivers import Driver
from rljax.errors import RunError, UsageError

MOST_FAILURES = 5
"""In a row, without a trajectory in between; then the run stops."""


TIME_TO_START = 300.0
"""Extra seconds for the first call of each program of an actor: it starts, and compiles."""


@dataclass
class Call:
    """A call that an actor has not answered yet."""

    actor: int
    method: str
    args: tuple
    program: tuple[str, bool]
    """The method, and whether it explores: each has a program of its own, which takes time to
    compile."""
    until: float
    future: Any


class Answer(NamedTuple):
    """What an actor brings."""

    actor: int
    brought: Any
    first: bool
    """Whether it is the first of this actor, whose episodes begin with it."""


class Crew:
    """Actors 0 to `number` - 1, each with at most one call.

    Args:
        driver: what runs them.
        make: from the number of an actor, and how many it follows in its place, to a function
            that makes it where it runs.
        number: how many there are.
        timeout: seconds after which one that does not answer counts as hung.
        warn: told in a sentence of each actor that is replaced.
    """

    def __init__(
        self,
        driver: Driver,
        make: Callable[[int, int], Callable[[], Actor]],
        number: int,
        timeout: float,
        warn: Callable[[str], None],
    ):
        self.driver, self.failures = driver, 0
        self._make, self._timeout, self._warn = make, timeout, warn
        self._lives = [0] * number
        self._answered: list[set[tuple[str, bool]]] = [set() for _ in range(number)]
        self._in_a_row = 0
        self._calls: list[Call] = []
        self._handles = [driver.launch(make(actor, 0)) for actor in range(number)]

    def submit(self, actor: int, *args: Any, method: str = "collect") -> None:
        """Let an actor collect; `args` are those of `Actor.collect`, or of another method."""
        future = self.driver.submit(self._handles[actor], method, *args)
        program = method, bool(args) and args[-1] is True
        grace = 0.0 if program in self._answered[actor] else TIME_TO_START
        until = time.monotonic() + self._timeout + grace
        self._calls.append(Call(actor, method, args, program, until, future))

    @property
    def busy(self) -> list[int]:
        """The actors that have a call."""
        return [call.actor for call in self._calls]

    def next(self) -> list[Answer]:
        """What the actors bring that have answered, at least one.

        One that failed is replaced, and its call is given to the one that follows. Raises RunError
        after `MOST_FAILURES` in a row, with the last error.
        """
        while True:
            left = max(0.0, min(call.until for call in self._calls) - time.monotonic())
            futures = self.driver.wait([call.future for call in self._calls], left)
            done = [call for call in self._calls if call.future in futures]
            self._calls = [call for call in self._calls if call.future not in futures]
            answers = []
            for call in done:
                try:
                    brought = self.driver.result(call.future)
                    answered = self._answered[call.actor]
                    answers.append(Answer(call.actor, brought, not answered))
                    self._in_a_row = 0
                    answered.add(call.program)
                except UsageError:
                    raise
                except Exception as error:
                    self._replace(call, error)
            if not done:
                self._replace_hung()
            if answers:
                return answers

    def _replace_hung(self) -> None:
        now = time.monotonic()
        hung = [call for call in self._calls if now >= call.until]
        self._calls = [call for call in self._calls if call not in hung]
        for call in hung:
            what = f"brought nothing for {self._timeout:g} s"
            self._replace(call, TimeoutError(what))

    def _replace(self, call: Call, error: Exception) -> None:
        self.failures += 1
        self._in_a_row += 1
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        if self._in_a_row > MOST_FAILURES:
            raise RunError(
                f"{self._in_a_row} actors in a row failed, and the last one with {what}"
            ) from error
        self._warn(f"actor {call.actor} failed and is replaced; its episodes are dropped: {what}")
        self.driver.kill(self._handles[call.actor])
        self._lives[call.actor] += 1
        self._answered[call.actor].clear()
        made = self._make(call.actor, self._lives[call.actor])
        self._handles[call.actor] = self.driver.launch(made)
        self.submit(call.actor, *call.args, method=call.method)

    def close(self) -> None:
        """End all actors."""
        self.driver.close()
