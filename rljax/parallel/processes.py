"""Several processes as one run: how they meet, agree, and notice that one of them is lost."""

import hashlib
import re
import socket
import time
from typing import Any

import jax
import numpy as np

from rljax.errors import RunError, UsageError

HEARTBEAT_SECONDS = 30  # without a sign of life, after which a process counts as lost


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout: int = 300,
) -> None:
    """Meet the other processes of this run, through JAX's own runtime; before any other use of it.

    Args:
        coordinator: HOST:PORT of process 0; None, and the other two as well, for Slurm, Kubernetes
            or Cloud TPU, where JAX finds all three.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        timeout: seconds to wait for the others.

    Raises UsageError for arguments that do not fit, RunError for a coordinator that is not there.
    """
    given = (coordinator, num_processes, process_id)
    if None in given and given != (None, None, None):
        raise UsageError("--coordinator, --num-processes and --process-id go together: give all")
    if coordinator is not None and num_processes is not None and process_id is not None:
        if not re.fullmatch(r".+:\d+", coordinator):
            raise UsageError(f"--coordinator must be HOST:PORT, not {coordinator!r}")
        if not 0 <= process_id < num_processes:
            raise UsageError(
                f"--process-id must be from 0 to {num_processes - 1}, not {process_id}"
            )
        if process_id == 0:
            _check_free(coordinator)
        else:
            _await(coordinator, timeout)
    # It would keep SIGTERM to itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator,
            num_processes=num_processes,
            process_id=process_id,
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:  # What JAX could not find out by itself.
        raise UsageError(
            f"--distributed found no Slurm, Kubernetes or Cloud TPU around this process ({error}): "
            "give --coordinator, --num-processes and --process-id"
        ) from None


def _check_free(coordinator: str) -> None:
    """Refuse a port that something else listens on: JAX itself would crash."""
    try:
        socket.create_server(("", int(coordinator.rpartition(":")[2]))).close()
    except OSError as error:
        raise UsageError(
            f"--coordinator {coordinator}: process 0 cannot listen there ({error.strerror}): "
            "choose another port"
        ) from None


def _await(coordinator: str, timeout: int) -> None:
    """Return once something listens there: JAX itself would end the process without a sentence."""
    host, _, port = coordinator.rpartition(":")
    give_up = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > give_up:
                raise RunError(
                    f"coordinator {coordinator} did not answer within {timeout} s ({error}): "
                    "is process 0 running, and can this host reach it?"
                ) from None
            time.sleep(0.5)


def is_first() -> bool:
    """Whether this process is the one that writes the run directory."""
    return jax.process_index() == 0


def wait(what: str) -> None:
    """Return when all processes have come this far."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def check_same(what: str, content: bytes) -> None:
    """Raise UsageError, in every process, if what they bring differs."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    digest = hashlib.sha256(content).digest()
    digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    for process, other in enumerate(digests):
        if not np.array_equal(other, digests[0]):
            raise UsageError(
                f"process {process} was started with another {what} "
                f"({other.tobytes().hex()[:12]}) than process 0 "
                f"({digests[0].tobytes().hex()[:12]}): give every process the same command line"
            )


def one_replica(tree: Any) -> Any:
    """A tree that is the same on several devices, as it is on one of this process's."""

    def is_everywhere(x: Any) -> bool:
        concrete = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
        return concrete and x.is_fully_replicated

    if not all(map(is_everywhere, jax.tree.leaves(tree))):
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def largest(number: int) -> int:
    """The largest of the numbers [] that processes bring; all of them must ask."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def fetch(tree: Any) -> Any:
    """Every leaf as NumPy, wherever it is; on many hosts, all of them must ask."""

    from jax.experimental import multihost_utils

    def one(x: Any) -> Any:
        if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
            return multihost_utils.process_allgather(x, tiled=True)
        return np.asarray(x)

    return jax.tree.map(one, tree)


def lost() -> str | None:
    """Which process is not there any more, after something has failed; None if all still are."""
    from jax._src.distributed import global_state  # JAX tells it nowhere else.

    assert global_state.client is not None
    try:
        global_state.client.wait_at_barrier("lost", 1000 * (HEARTBEAT_SECONDS + 15))
    except Exception as error:  # It names who did not come.
        found = re.search(r"[Tt]ask:? ?(\d+)", str(error))
        return f"process {found.group(1)}" if found else "a process"
    return None
