"""Actors as threads of this process."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any


class Handle:
    """A thread with one object, which takes calls from a queue."""

    def __init__(self, make: Callable[[], Any]):
        self.calls: queue.SimpleQueue = queue.SimpleQueue()
        # A daemon, so that one that hangs does not keep the process.
        self.thread = threading.Thread(target=self._run, args=(make,), daemon=True)
        self.thread.start()

    def _run(self, make: Callable[[], Any]) -> None:
        made, failure = None, None
        while (call := self.calls.get()) is not None:
            future, method, args = call
            try:
                if failure is None and made is None:
                    made = make()
                future.set_result(getattr(made, method)(*args))
            except BaseException as error:
                failure = error
                future.set_exception(error)
        if made is not None:
            made.close()


class Threads:
    """A driver; see `rljax.distributed.drivers.Driver`. Nothing that is handed over is copied."""

    def __init__(self) -> None:
        self._handles: list[Handle] = []

    def launch(self, make: Callable[[], Any]) -> Handle:
        """Start a thread."""
        handle = Handle(make)
        self._handles.append(handle)
        return handle

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value

    def submit(self, handle: Handle, method: str, *args: Any) -> Future:
        """Put a call into the queue of a thread."""
        future: Future = Future()
        handle.calls.put((future, method, args))
        return future

    def wait(self, futures: Sequence[Future], timeout: float) -> list[Future]:
        """Those that are done."""
        done = wait(futures, timeout, FIRST_COMPLETED).done
        return [future for future in futures if future in done]

    def result(self, future: Future) -> Any:
        """What the call returned."""
        return future.result()

    def kill(self, handle: Handle) -> None:
        """Ask a thread to end; one that hangs is left alone, and ends with the process."""
        handle.calls.put(None)
        self._handles.remove(handle)

    def close(self) -> None:
        """Ask all threads to end, and wait a little for each."""
        for handle in self._handles:
            handle.calls.put(None)
        for handle in self._handles:
            handle.thread.join(timeout=10)
        self._handles.clear()
