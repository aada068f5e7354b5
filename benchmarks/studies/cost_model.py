"""What training on many devices should cost: bytes all-reduced, compute, efficiency expected.

    python benchmarks/studies/cost_model.py configs/ppo/breakout.toml configs/dqn/breakout.toml
    python benchmarks/studies/cost_model.py configs/ppo/cartpole.toml --hardware tpu-v5e
    python benchmarks/studies/cost_model.py configs/ppo/breakout.toml --bandwidth 1e9 --latency 2e-5
    python benchmarks/studies/cost_model.py configs/dqn/cartpole.toml -d 1 -d 2 -d 4 -d 8 --compiled

No program is run, and no time is measured. FLOPs are counted in the compiled program of one device,
all-reduces in the program that `rljax.pmap` traces. The figures of the hardware are assumptions.
Every gradient step waits for its all-reduce, so that one iteration takes

    seconds(D)        = FLOPs of a device / achieved FLOP/s + sum of the all-reduces' seconds
    strong efficiency = seconds(1) / (D seconds(D)), where D devices share the work of one
    weak efficiency   = seconds(1) / seconds(D), where each of them has as much as the one

Two things are left out. Waiting for the slowest device makes real runs less efficient than this.
Work that is no matrix product, or takes longer to launch than to run, makes them more efficient,
because there is more to compute for each all-reduce.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

COMPILED_AT_MOST = 8  # devices; more compile to the same all-reduces, only slower


class Level(NamedTuple):
    """A network, or one axis of it, and what a device can do on it."""

    devices: float
    """How many it joins."""
    bandwidth: float
    """Bytes/s that a device sends while it receives as many."""
    latency: float
    """Seconds from one device to the next."""
    switched: bool
    """Whether every device reaches every other in one hop, or only its neighbours in a ring."""


class Hardware(NamedTuple):
    """Assumptions about a machine; levels from the innermost network outwards."""

    flops: float
    """FLOP/s that a device achieves, which is far below its peak for small networks."""
    launch: float
    """Seconds before the first byte of an all-reduce moves."""
    levels: tuple[Level, ...]


# Achieved FLOP/s are a guess, 1% of the dense peak in the precision in which JAX multiplies float32
# by default: products with 64 columns leave most of a matrix unit idle. To replace the guess, time
# an iteration on one device, and give --flops (the FLOPs printed here) / (the seconds measured).
HARDWARE = {
    # Peak 495 TFLOP/s (TF32), NVLink 450 GB/s each way: https://www.nvidia.com/en-us/data-center/h100
    # Eight to a node, with one 400 Gb/s InfiniBand port each: NVIDIA DGX H100 datasheet.
    # Latencies are what NCCL itself assumes to choose an algorithm (low-latency protocol, tree):
    # https://github.com/NVIDIA/nccl/blob/master/src/graph/tuning.cc, baseLat and hwLat.
    "h100": Hardware(
        flops=5e12,
        launch=6.8e-6,
        levels=(
            Level(8, 450e9, 0.6e-6, switched=True),
            Level(math.inf, 50e9, 5e-6, switched=True),
        ),
    ),
    # Peak 197 TFLOP/s (bfloat16), a torus of 16 x 16 chips with four links of 50 GB/s each way, and
    # 6.4 Tb/s for all 256 between pods: https://cloud.google.com/tpu/docs/v5e. About 1 us a hop:
    # https://jax-ml.github.io/scaling-book/sharding. Between pods, and to launch: guesses.
    "tpu-v5e": Hardware(
        flops=2e12,
        launch=2e-6,
        levels=(
            Level(16, 100e9, 1e-6, switched=False),
            Level(16, 100e9, 1e-6, switched=False),
            Level(math.inf, 3.1e9, 20e-6, switched=True),
        ),
    ),
}


def level_seconds(size: float, devices: int, level: Level) -> float:
    """Seconds to all-reduce `size` bytes over devices of one level.

    A reduce-scatter and an all-gather, each of which sends all but a device's own part:
    2 (D - 1) / D bytes / bandwidth + hops x latency. A ring takes 2 (D - 1) hops (Patarasuk and
    Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002). Where each reaches each, halving and
    doubling distances takes 2 log2(D) (Thakur, Rabenseifner and Gropp 2005,
    https://doi.org/10.1177/1094342005051521).
    """
    hops = 2 * math.ceil(math.log2(devices)) if level.switched else 2 * (devices - 1)
    return 2 * (devices - 1) / devices * size / level.bandwidth + hops * level.latency


def all_reduce_seconds(size: float, devices: int, hardware: Hardware) -> float:
    """Seconds to all-reduce `size` bytes over all devices, the innermost level first.

    What a level has scattered is reduced in parts by the next one out, before it is gathered
    again (Mikami et al. 2018, https://arxiv.org/abs/1811.05233).
    """
    seconds = hardware.launch if devices > 1 else 0.0
    for level in hardware.levels:
        here = int(min(level.devices, devices))
        seconds += level_seconds(size, here, level)
        size, devices = size / here, math.ceil(devices / here)
    return seconds


class AllReduce(NamedTuple):
    """An all-reduce of a program, which may reduce many arrays at once."""

    loops: int
    """How many loops it is inside of."""
    times: int
    """How often an iteration of training does it."""
    bytes: int
    """Of its operands on one device, each time."""


class Program(NamedTuple):
    """What one device does in one iteration of training."""

    flops: int
    """Multiplications and additions of matrix products."""
    all_reduces: list[AllReduce]


def total_bytes(all_reduces: Sequence[AllReduce]) -> int:
    """The bytes that an iteration all-reduces on one device."""
    return sum(each.times * each.bytes for each in all_reduces)


def traced(agent: Any, devices: int) -> Any:
    """An iteration, spread over devices, as JAX traces it; None if its counts do not divide."""
    import jax

    import rljax
    from rljax.errors import UsageError

    try:
        spread = rljax.pmap(agent, devices)
    except UsageError:
        return None
    return jax.jit(spread.step).trace(jax.eval_shape(spread.init, jax.random.key(0)))


def compiled_text(trace: Any) -> str:
    """The compiled program as text; fast, for what LLVM does comes after what is counted here."""
    return trace.lower().compile({"xla_backend_optimization_level": 0}).as_text()


def equations(jaxpr: Any, times: int = 1, loops: int = 0) -> Iterator[tuple[Any, int, int]]:
    """Every equation of a program, how often it runs, and how many loops it is inside of.

    Once for a loop whose length depends on data; in every branch of a conditional.
    """
    from jax.extend.core import ClosedJaxpr, Jaxpr

    for equation in jaxpr.eqns:
        yield equation, times, loops
        name, params = equation.primitive.name, equation.params
        again = params["length"] if name == "scan" else 1
        for param in params.values():
            for inner in param if isinstance(param, tuple) else (param,):
                if isinstance(inner, Jaxpr | ClosedJaxpr):
                    inner = getattr(inner, "jaxpr", inner)
                    yield from equations(inner, times * again, loops + (name in ("scan", "while")))


def asked_for(jaxpr: Any) -> list[AllReduce]:
    """The all-reduces of a traced program: neighbours of one type are one, as XLA makes them."""

    def kind(found: tuple[Any, int, int]) -> tuple[str, int, int] | None:
        equation, times, loops = found
        name = equation.primitive.name
        return (name, times, loops) if name in ("psum", "pmax", "pmin") else None

    all_reduces = []
    for key, group in itertools.groupby(equations(jaxpr), kind):
        if key:
            sizes: dict[Any, int] = {}
            for operand in (x.aval for equation, *_ in group for x in equation.invars):
                size = operand.size * operand.dtype.itemsize
                sizes[operand.dtype] = sizes.get(operand.dtype, 0) + size
            _, times, loops = key
            all_reduces += [AllReduce(loops, times, size) for size in sizes.values()]
    return all_reduces


def counted(text: str) -> Program:
    """What is in the text of a compiled program (HLO), the bodies of loops as often as they run.

    XLA's own cost analysis counts them once, and nearly all of training is in loops. A matrix
    product of [B, M, K] and [B, K, N] is 2 B M N K FLOPs; what is no product is left out.

    Raises ValueError for an exchange between devices that is not an all-reduce.
    """
    bodies: dict[str, list[re.Match]] = {}
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            body = bodies.setdefault("ENTRY" if head[1] else head[2], [])
        elif found := INSTRUCTION.match(line):
            body.append(found)
    flops, all_reduces = 0, []

    def walk(name: str, times: int, loops: int) -> None:
        nonlocal flops
        shapes = {found["name"]: found["shape"] for found in bodies[name]}
        for found in bodies[name]:
            operation, rest = found["operation"], found["rest"]
            if operation == "dot":
                left, contracted = (pattern.findall(rest)[0] for pattern in (OPERAND, CONTRACTED))
                sizes = _array(shapes[left])[1]
                summed = math.prod(sizes[axis] for axis in _numbers(contracted))
                flops += times * 2 * math.prod(_array(found["shape"])[1]) * summed
            elif operation == "all-reduce":
                arrays = map(_array, ARRAY.findall(found["shape"]))
                size = sum(itemsize * math.prod(sizes) for itemsize, sizes in arrays)
                all_reduces.append(AllReduce(loops, times, size))
            elif operation in OTHER_EXCHANGES:
                raise ValueError(f"an exchange that is not an all-reduce: {found[0]}")
            again = math.prod(map(int, TRIPS.findall(rest)))
            for called in CALLED.findall(rest):
                for inner in re.findall(r"[\w.-]+", called):
                    walk(inner, times * again, loops + (operation == "while"))

    walk("ENTRY", 1, 0)
    return Program(flops, all_reduces)


# An instruction: `%name = f32[8,16]{1,0} dot(%a, %b), lhs_contracting_dims={1}, ...`
INSTRUCTION = re.compile(
    r"  (ROOT )?%?(?P<name>[\w.-]+) = (?P<shape>.*?) (?P<operation>[a-z][\w-]*)\((?P<rest>.*)"
)
OTHER_EXCHANGES = ("all-gather", "all-to-all", "collective-permute", "reduce-scatter", "send")
OPERAND = re.compile(r"%([\w.-]+)")
CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
ARRAY = re.compile(r"[a-z]+\d*\[[\d,]*\]")  # f32[8,16]; pred[]
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
CALLED = re.compile(r"(?:body|calls|to_apply|\w+_computations?)=(\{[^}]*\}|[%\w.-]+)")


def _array(shape: str) -> tuple[int, list[int]]:
    """Bytes of an element, and sizes of the axes."""
    element, _, sizes = shape.partition("[")
    bits = int(element.lstrip("abcdefghijklmnopqrstuvwxyz") or 8)
    return bits // 8, _numbers(sizes.partition("]")[0])


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def communication_seconds(
    all_reduces: Sequence[AllReduce], devices: int, hardware: Hardware
) -> float:
    """Seconds an iteration spends in all-reduces; none of them overlaps anything."""
    return sum(
        each.times * all_reduce_seconds(each.bytes, devices, hardware) for each in all_reduces
    )


def analysed(path: str, counts: Sequence[int], hardware: Hardware, compiled: bool) -> dict:
    """What a config costs on each number of devices."""
    from rljax.experiments.config import load

    config = load(path)
    agent = config.agent()
    traces = {devices: traced(agent, devices) for devices in sorted({1, 2, *counts})}
    if traces[2] is None:
        raise click.UsageError(f"{path} has counts that two devices cannot share")
    to_compile = [d for d in counts if traces[d] and d <= COMPILED_AT_MOST] if compiled else []
    programs = {d: counted(compiled_text(traces[d])) for d in sorted({1, *to_compile})}
    flops = programs[1].flops
    # Neither the number of devices nor the size of a batch changes what is all-reduced.
    all_reduces = asked_for(traces[2].jaxpr)
    step = max(all_reduces, key=lambda each: each.bytes)  # That of the gradient.
    batch = config.structure.get("batch_size") or (
        agent.env_steps_per_iteration // config.structure.get("num_minibatches", 1)
    )

    def row(devices: int) -> dict:
        waiting = communication_seconds(all_reduces, devices, hardware)
        alone = flops / hardware.flops

        def scaled(work: int) -> dict:
            """For all devices together, with `work` times the work of one device alone."""
            compute = alone * work / devices  # Every product has the batch as an axis.
            efficiency = compute / (compute + waiting)
            return {"batch": batch * work, "compute_s": compute, "efficiency": efficiency}

        return {
            "devices": devices,
            "communication_s": waiting,
            "strong": scaled(1) if traces[devices] else None,
            "weak": scaled(devices),
        }

    return {
        "config": path,
        "flops": flops,
        "gradient_steps": step.times,
        "step_bytes": step.bytes,
        "other_all_reduces": sum(each.times for each in all_reduces) - step.times,
        "other_bytes": total_bytes(all_reduces) - step.times * step.bytes,
        "rows": [row(devices) for devices in counts],
        "programs": [
            {
                "devices": devices,
                "asked_for": asked_for(traces[devices].jaxpr),
                "compiled": programs[devices].all_reduces,
            }
            for devices in to_compile
        ],
    }


def table(found: dict) -> Iterator[str]:
    """Markdown, with times in milliseconds."""

    def cells(part: dict | None) -> list[str]:
        if part is None:
            return ["-"] * 3
        return [f"{part['batch']:,}", f"{1e3 * part['compute_s']:.3g}", f"{part['efficiency']:.1%}"]

    yield (
        "`{config}`: {gradient_steps} gradient steps an iteration, {step_bytes:,} bytes each; "
        "{other_all_reduces} other all-reduces, {other_bytes:,} bytes in all; {flops:.3g} FLOPs."
    ).format(**found)
    yield ""
    scalings = [f"{name}: batch | compute | efficiency" for name in ("strong", "weak")]
    yield f"| devices | all-reduces | {' | '.join(scalings)} |"
    yield f"|{'---|' * 8}"
    for row in found["rows"]:
        first = [f"{row['devices']:,}", f"{1e3 * row['communication_s']:.3g}"]
        yield f"| {' | '.join(first + cells(row['strong']) + cells(row['weak']))} |"
    for checked in found["programs"]:
        expected, compiled = (total_bytes(checked[how]) for how in ("asked_for", "compiled"))
        yield ""
        yield (
            f"On {checked['devices']}: {expected:,} bytes an iteration expected, {compiled:,} in "
            "the compiled program."
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("configs", nargs=-1, required=True)
@click.option(
    "-d",
    "--devices",
    multiple=True,
    type=click.IntRange(1),
    default=(1, 8, 64, 512, 1024),
    show_default=True,
    help="How many; can be given several times.",
)
@click.option("--hardware", type=click.Choice(list(HARDWARE)), default="h100", show_default=True)
@click.option("--flops", type=float, help="FLOP/s that a device achieves.")
@click.option("--bandwidth", type=float, help="Bytes/s of a ring; with --latency.")
@click.option("--latency", type=float, help="Seconds a hop of a ring; with --bandwidth.")
@click.option(
    "--compiled", is_flag=True, help="Also compile, and count the bytes in the compiled program."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a config.")
def main(configs, devices, hardware, flops, bandwidth, latency, compiled, as_json) -> None:
    """Print what CONFIGS, files of `rljax train`, should cost on many devices.

    A model, not a measurement. Its formulae and the sources of its figures are in the script.
    """
    import jax

    from rljax.errors import UsageError

    machine = HARDWARE[hardware]
    if (bandwidth is None) != (latency is None):
        raise click.UsageError("--bandwidth and --latency describe one ring: give both")
    if bandwidth is not None:
        ring = Level(math.inf, bandwidth, latency, switched=False)
        machine = machine._replace(launch=0.0, levels=(ring,))
    if flops is not None:
        machine = machine._replace(flops=flops)
    # Tracing and compiling need devices that are there, but not real ones.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(2, *devices))
    for path in configs:
        try:
            found = analysed(path, devices, machine, compiled)
        except UsageError as error:
            raise click.UsageError(str(error)) from None
        print(json.dumps(found) if as_json else "\n".join(table(found)) + "\n")


if __name__ == "__main__":
    main()
