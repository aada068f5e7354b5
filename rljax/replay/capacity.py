"""Whether something large will fit, before it is allocated."""

import math
import os
from typing import Any

import jax

from rljax.errors import UsageError

GIB = 2**30


def size_in_bytes(tree: Any) -> int:
    """Bytes of all arrays (or shapes of arrays) in a pytree."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def check_memory(what: str, count: int, size: int, unit: str = "rows", devices: int = 1) -> None:
    """Refuse `count` units of `size` bytes in all if the default device has less memory free.

    Each of several devices has as many, and what is asked for is their sum. Where nobody knows how
    much is free, anything passes.
    """
    device = _default_device()
    free = free_memory(device)
    if free is not None and size > free:
        each = " on each device" if devices > 1 else ""
        raise UsageError(
            f"{what} = {count * devices} does not fit: {count} {unit}{each} x "
            f"{size / count:.1f} bytes = {size / GIB:.2f} GiB, but {device} has "
            f"{free / GIB:.2f} GiB free: make {what} at most {free * count // size * devices}"
        )


def free_memory(device: jax.Device | None = None) -> int | None:
    """Bytes that a device (by default, the default one) has free; None where nobody knows."""
    device = device or _default_device()
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    if device.platform != "cpu":
        return None
    try:
        with open("/proc/meminfo") as meminfo:
            lines = dict(line.split(":") for line in meminfo)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _default_device() -> jax.Device:
    device = jax.config.jax_default_device or jax.local_devices()[0]  # type: ignore[attr-defined]
    return jax.local_devices(backend=device)[0] if isinstance(device, str) else device
