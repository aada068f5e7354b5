"""What runs actors: the interface, and which driver has which name."""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rljax.types import HostActors


class Driver(Protocol):
    """Runs objects elsewhere: one call of each at a time, in the order of the calls."""

    def launch(self, make: Callable[[], Any]) -> Any:
        """A handle to the object that `make` returns, which is made where it runs."""
        ...

    def share(self, value: Any) -> Any:
        """A reference to a value that many calls are given: it travels once."""
        ...

    def submit(self, handle: Any, method: str, *args: Any) -> Any:
        """Call a method; returns a future."""
        ...

    def wait(self, futures: Sequence[Any], timeout: float) -> list[Any]:
        """Those futures that are done, in the order given, once there is one; none after the
        timeout in seconds."""
        ...

    def result(self, future: Any) -> Any:
        """What a finished call returned; raises what it raised."""
        ...

    def kill(self, handle: Any) -> None:
        """End an object, even one that hangs."""
        ...

    def close(self) -> None:
        """End all of them, and leave no thread and no process behind."""
        ...


def cores() -> int:
    """How many processor cores this process may use."""
    is_told = hasattr(os, "sched_getaffinity")  # which cores a job may use; on Linux alone
    return len(os.sched_getaffinity(0)) if is_told else os.cpu_count() or 1


def open_driver(actors: HostActors, warn: Callable[[str], None] = warnings.warn) -> Driver:
    """The driver that the actors ask for; importing Ray takes seconds.

    `warn` is told in a sentence if there are more threads than processors.
    """
    if actors.driver == "ray":
        from rljax.distributed.ray_driver import RayDriver

        return RayDriver(actors.number, actors.ray_address)
    from rljax.distributed.threads import Threads

    if actors.number > cores():
        warn(
            f"{actors.number} actors on threads share {cores()} processor core(s): unless their "
            f"simulators mostly wait, make actors at most {cores()}"
        )
    return Threads()
