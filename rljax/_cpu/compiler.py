"""Options of XLA's compiler that make small programs faster on a CPU.

XLA lets several threads of a CPU take the instructions of a program from a queue. Where each
instruction takes a few microseconds, that takes longer than to run them in order. The numbers are
the same either way.
"""

from collections.abc import Callable
from typing import Any

import jax

from rljax._cpu import switch

Options = dict[str, str | bool]

MOST_OPERATIONS_IN_ORDER = 4e7  # floating-point, in one pass over all instructions; as measured
IN_ORDER: Options = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
UNOPTIMIZED: dict[str, str | bool | int] = {"xla_backend_optimization_level": 0}


def compiler_options(function: Callable[..., Any], *args: Any) -> Options:
    """What to give `jax.jit` as `compiler_options`, as `rljax.train` does.

    `jax.jit(agent.step, compiler_options=rljax.compiler_options(agent.step, state))`

    Args:
        function: what will be compiled; it is traced to see how large it is.
        *args: its arguments, or arrays that look and lie like them.

    Returns an empty dictionary for GPUs and TPUs, for several devices and for large programs.
    """
    device = _one_device(args)
    if device is None:
        return {}
    return options_of(jax.jit(function).lower(*args), device)


def options_of(program: jax.stages.Lowered, device: jax.Device) -> Options:
    """The options to compile a program with that is lowered for one device."""
    if not _is_tuned(device):
        return {}
    operations = (program.cost_analysis() or {}).get("flops", float("inf"))
    return IN_ORDER if operations < MOST_OPERATIONS_IN_ORDER else {}


def options_to_run_once(device: jax.Device) -> dict[str, str | bool | int]:
    """The options for a short program that runs once: it is compiled quickly rather than well."""
    return UNOPTIMIZED if _is_tuned(device) else {}


def _one_device(tree: Any) -> jax.Device | None:
    """The device on which all arrays of a tree lie, the default one if none says; or None."""
    found = set()
    for x in jax.tree.leaves(tree):
        if (sharding := getattr(x, "sharding", None)) is not None:
            found |= sharding.device_set
    if len(found) > 1:
        return None
    return found.pop() if found else jax.devices()[0]


def _is_tuned(device: jax.Device) -> bool:
    return device.platform == "cpu" and switch.is_on()
