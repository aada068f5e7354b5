"""Actors as processes of Ray, on this machine or on a cluster."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from rljax.errors import UsageError, check_extra

ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
"""Of the processes of actors: accelerators are the learner's."""


class Host:
    """What a process of Ray holds: one object, made there."""

    def __init__(self, make: Callable[[], Any]):
        self.made = make()

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the object."""
        return getattr(self.made, method)(*args)


class RayDriver:
    """A driver; see `rljax.distributed.drivers.Driver`.

    What is shared is put into Ray's object store once, and read from there by every process of a
    machine. Arrays come back through the store, too, and are read from it without a copy.

    Raises UsageError where Ray is not installed, a cluster is not reached, or its processors are
    fewer than the actors.
    """

    def __init__(self, actors: int, address: str | None = None):
        check_extra('driver = "ray"', "ray", "ray")
        import ray

        self._ray = ray
        self._mine = not ray.is_initialized()
        if self._mine:
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            started: dict[str, Any] = (
                {} if address else {"num_cpus": actors, "include_dashboard": False}
            )
            try:
                ray.init(address=address, **options, **started)
            except ConnectionError as error:
                raise UsageError(f"no Ray cluster answers at {address!r}: {error}") from error
        processors = int(ray.cluster_resources().get("CPU", 0))
        if processors < actors:
            self.close()
            raise UsageError(
                f"actors = {actors} need a processor each, and the Ray cluster has {processors}: "
                f"make actors at most {processors}"
            )
        self._handles: list[Any] = []
        self._class = ray.remote(num_cpus=1, runtime_env={"env_vars": ENVIRONMENT})(Host)

    def launch(self, make: Callable[[], Any]) -> Any:
        """Start a process; UsageError for a simulator that cannot be sent to it."""
        from ray.util.check_serialize import inspect_serializability

        try:
            handle = self._class.remote(make)
        except TypeError as error:
            _, failures = inspect_serializability(make, print_file=_Nowhere())
            names = ", ".join(sorted({str(f.path[-1]) for f in failures})) or "it"
            raise UsageError(
                f"Ray cannot send the simulator to its processes, because {names} cannot be "
                "pickled: make that inside the function that makes the simulator"
            ) from error
        self._handles.append(handle)
        return handle

    def share(self, value: Any) -> Any:
        """Put a value into the object store."""
        return self._ray.put(value)

    def submit(self, handle: Any, method: str, *args: Any) -> Any:
        """Call a method of the object in a process."""
        return handle.call.remote(method, *args)

    def wait(self, futures: Sequence[Any], timeout: float) -> list[Any]:
        """Those that are done."""
        first, others = self._ray.wait(list(futures), num_returns=1, timeout=timeout)
        more = self._ray.wait(others, num_returns=len(others), timeout=0)[0] if others else []
        done = {*first, *more}
        return [future for future in futures if future in done]

    def result(self, future: Any) -> Any:
        """What the call returned; the error of a simulator is raised as it was there."""
        try:
            return self._ray.get(future)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None

    def kill(self, handle: Any) -> None:
        """End a process."""
        self._ray.kill(handle)
        self._handles.remove(handle)

    def close(self) -> None:
        """End the processes, and Ray if it was started here."""
        for handle in getattr(self, "_handles", ()):
            self._ray.kill(handle)
        self._handles = []
        if self._mine:
            self._ray.shutdown()


class _Nowhere:
    """Where the report of what cannot be pickled goes: the error names it."""

    def write(self, text: str) -> None:
        """Forget it."""
