"""What every side of a benchmark shares: how work is read, timed and answered.

A side is a script that runs in an environment of its own, as `run_NAME.py WORK [CHECKOUT]`, and
prints one line of JSON at its end. Nothing here imports rljax, nor JAX before it is needed.
"""

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

LEAST_SECONDS = 2.0  # Short runs are repeated for so long; the best of them counts.


def work() -> dict[str, Any]:
    """The work, as the first argument has it."""
    return json.loads(sys.argv[1])


def checkout() -> str:
    """Where a side that is not a package lies: the second argument."""
    return sys.argv[2]


def timed(run: Callable[[], Any], least: float) -> tuple[list[float], Any]:
    """Seconds of each run, `least` in all and one run at least, and what the last returned."""
    seconds: list[float] = []
    while not seconds or sum(seconds) < least:
        began = time.perf_counter()
        out = run()
        seconds.append(time.perf_counter() - began)
    return seconds, out


def compiled(function: Callable, *arguments: Any, **options: Any) -> tuple[Callable, float]:
    """The function compiled for these arguments, and seconds of tracing and compiling."""
    import jax

    began = time.perf_counter()
    program = jax.jit(function, **options).lower(*arguments).compile()
    return program, time.perf_counter() - began


def answer_program(
    function: Callable,
    arguments: Sequence[Any],
    amount: float,
    check: Callable[[Any], float],
    packages: Sequence[str] = (),
) -> None:
    """Compile and run a JAX function, and answer.

    Args:
        amount: how much work one run is, in the unit of the row.
        check: from what the function returned to the number that the row's bar is for.
        packages: whose versions to tell.
    """
    program, compiling = compiled(function, *arguments)
    answer_compiled(program, compiling, arguments, amount, check, packages)


def answer_rollouts(
    start: Callable[[Any], Any],
    step: Callable[[Any], tuple[Any, dict[str, Any]]],
    packages: Sequence[str],
) -> None:
    """Take the steps that the work asks for, keep all that a learner needs, and answer.

    The result is the mean return.

    Args:
        start: from a key to what `step` carries.
        step: one step of all environments by random actions, to what it carries and what is kept;
            in that are `reward` [N], and `over` [N], whether an episode ended.
    """
    import jax
    import jax.numpy as jnp

    envs, length, rollouts = (work()[n] for n in ("num_envs", "rollout_length", "rollouts"))

    def rollout(loop, _):
        carry, _ = loop
        carry, seen = jax.lax.scan(lambda carry, _: step(carry), carry, length=length)
        last = jax.tree.map(lambda x: x[-1], seen)  # Carried, so that all of it has to be made.
        return (carry, last), (seen["reward"].sum(), seen["over"].sum())

    def run(key):
        carry = start(key)
        shapes = jax.eval_shape(step, carry)[1]
        last = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(rollout, (carry, last), length=rollouts)

    def check(out):
        rewards, episodes = out[1]
        return rewards.sum() / episodes.sum()

    key = jax.random.key(work()["seed"])
    answer_program(run, [key], envs * length * rollouts, check, packages)


def answer_compiled(
    program: Callable,
    compiling: float,
    arguments: Sequence[Any],
    amount: float,
    check: Callable[[Any], float],
    packages: Sequence[str] = (),
) -> None:
    """Run what took `compiling` seconds to compile, and answer; the rest as `answer_program`."""
    import jax

    only_compiling = work().get("measure") == "compiling"
    least_seconds = 0.0 if only_compiling else LEAST_SECONDS
    seconds, out = timed(lambda: jax.block_until_ready(program(*arguments)), least_seconds)
    if only_compiling:
        amount, seconds = 1, [compiling]
    answer(amount, seconds, check(out), compiling, ("jax", "jaxlib", *packages))


def answer(
    amount: float,
    seconds: Sequence[float],
    result: float,
    compile_seconds: float | None = None,
    packages: Sequence[str] = (),
    beside: dict[str, Any] | None = None,
) -> None:
    """Print the answer.

    Args:
        amount: how much work one run is, in the unit of the row.
        seconds: of each run.
        result: the number that the row's bar is for.
        compile_seconds: of compiling; None where nothing is compiled.
        packages: whose versions to tell.
        beside: other sides measured in this process: name to {"amount", "seconds"}.
    """
    print(
        "\n"
        + json.dumps(
            {
                "amount": amount,
                "seconds": list(seconds),
                "result": float(result),
                "compile_seconds": compile_seconds,
                "peak_memory_bytes": peak_memory(),
                "versions": {"python": platform.python_version()}
                | {name: metadata.version(name) for name in packages},
                "devices": devices(),
                "beside": beside or {},
            }
        )
    )


def devices() -> list[str]:
    """What JAX computes on; nothing where it is not used."""
    jax = sys.modules.get("jax")
    return [f"{d.platform}: {d.device_kind}" for d in jax.local_devices()] if jax else []


def peak_memory() -> int:
    """The most bytes in use: of the accelerator if it reports them, else of this process."""
    jax = sys.modules.get("jax")
    stats = (jax.local_devices()[0].memory_stats() or {}) if jax else {}
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return stats.get("peak_bytes_in_use", of_process * kilobyte)
