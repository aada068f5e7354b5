"""The host loop: compiled chunks of iterations, one transfer of metrics each, then hooks."""

import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax import collectives
from rljax.errors import NonFiniteError, ReplicasDiffer, check_positive
from rljax.types import Agent, Key, Metrics, State

Row = dict[str, Any]  # one point of the curves: numbers, or lists [P] of a population
Hook = Callable[[State, Row], Row | None]

MOST_ENV_STEPS_PER_CHUNK = 1_000_000
NEVER = (
    "nonfinite/obs",
    "nonfinite/reward",
    collectives.REPLICAS_DIFFER,
)  # anything but 0 is an end
MOST_OPERATIONS_IN_ORDER = 4e7  # floating-point, in one pass over all instructions; as measured
IN_ORDER: dict[str, str | bool] = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
MOST_STEPS_UNOPTIMIZED = 20_000  # of warm-up; for fewer, optimizing takes longer than it saves
UNOPTIMIZED: dict[str, str | bool | int] = {"xla_backend_optimization_level": 0}
CAUSES = {
    "nonfinite/obs": "an observation from the environment",
    "nonfinite/reward": "a reward from the environment",
    "losses/grad_norm": "a gradient",
}
TOO_MUCH = {
    "losses/clipped_targets": (
        0.1,
        "more than a tenth of the targets lies beyond v_min and v_max, where the values cannot "
        "follow: set them to the least and the largest discounted return that is possible",
    )
}
"""Metric to its largest harmless value, and what to do about a larger one."""
EPISODE_MEANS = ("charts/episodic_return", "charts/episodic_length")
LATEST = "population/"  # names of which a row has the latest value; NaN is one that is not due


def train(
    agent: Agent,
    start: Key | State,
    *,
    hooks: Sequence[Hook] = (),
    chunk_iterations: int | None = None,
    interrupts: "Interrupts | None" = None,
    warn: Callable[[str], None] = warnings.warn,
) -> tuple[State, dict[str, np.ndarray]]:
    """Train an agent, or a population, for `agent.num_iterations` iterations.

    Args:
        agent: the agent, or what `rljax.vmap` and `rljax.pmap` make of one.
        start: a key (keys [P] for a population) to begin with, or a state to go on from.
        hooks: called in order after every chunk as `hook(state, row)`; what one returns is added
            to the row, so that those behind it see it too.
        chunk_iterations: iterations between two rows; by default a two-hundredth of the run.
        interrupts: who listens to Ctrl-C and SIGTERM; by default the loop does, and an interrupt
            ends training after the running chunk and keeps what there is.
        warn: told in a sentence, once, what keeps an agent from learning: see `TOO_MUCH`.

    Returns the last state, and the history: one array [rows] or [rows, P] for each name, NaN where
    a row has no value.

    Raises NonFiniteError when a number becomes NaN or infinite (of every member, where the agent's
    may fail), and ReplicasDiffer when devices disagree about what was learnt, before any hook
    sees it.
    """
    rows: list[Row] = []
    warned: set[str] = set()
    beginning, compiled = prepare(agent, start, chunk_iterations)
    state = beginning
    with interrupts or Interrupts() as listening:
        for state, row in advance(agent, compiled, beginning):
            listening.agree()
            for name in too_much(agent, row) - warned:
                warned.add(name)
                warn(TOO_MUCH[name][1])
            for hook in hooks:
                row.update(hook(state, row) or {})
            rows.append(row)
            if listening.received is not None:
                break
    return state, columns(rows)


def too_much(agent: Agent, row: Row) -> set[str]:
    """The metrics of `TOO_MUCH` that are above their bound, for at least one member.

    None in the first tenth of the run, in which values are still what they were by chance.
    """
    if row["iteration"] <= agent.num_iterations / 10:
        return set()
    found = ((name, row.get(name), most) for name, (most, _) in TOO_MUCH.items())
    return {name for name, value, most in found if np.any(np.asarray(value, float) > most)}


def prepare(
    agent: Agent, start: Key | State, chunk_iterations: int | None = None
) -> tuple[State, "Chunk"]:
    """The state to begin with, where the agent wants it, and the program to advance it.

    From key(s) the state is a fresh one; a state is copied, so that the given one stays usable.
    """
    if not isinstance(start, State):
        init, compiled = compile_training(agent, start, chunk_iterations)
        return init(start), compiled
    copy = jax.tree.map(jnp.copy, start)
    if agent.placement is not None:
        copy = jax.device_put(copy, agent.placement(copy))
    elif any(len(x.sharding.device_set) > 1 for x in jax.tree.leaves(copy)):
        copy = jax.device_put(copy, jax.devices()[0])
    return copy, compile_chunk(agent, copy, chunk_iterations)


def compile_training(
    agent: Agent, key: Key, chunk_iterations: int | None = None
) -> tuple[Callable[[Key], State], "Chunk"]:
    """The programs of a training from its beginning: from key(s) to a state, and of a chunk.

    They are compiled side by side. The first runs once, so it is compiled quickly rather than well:
    its numbers are those of `jax.jit(agent.init)` up to rounding.
    """
    on = key.devices()
    if agent.placement is None and len(on) > 1:  # Where the state lies is up to the compiler.
        init = jax.jit(agent.init)
        return init, compile_chunk(agent, init(key), chunk_iterations)
    fresh = jax.jit(agent.init).trace(key)
    like = described(agent, fresh.out_info, next(iter(on)))
    is_short = jax.default_backend() == "cpu" and agent.warmup_env_steps <= MOST_STEPS_UNOPTIMIZED
    with ThreadPoolExecutor(max_workers=1) as meanwhile:
        compiling = meanwhile.submit(fresh.lower().compile, UNOPTIMIZED if is_short else None)
        compiled = compile_chunk(agent, like, chunk_iterations)
        return compiling.result(), compiled


def described(agent: Agent, shapes: State, device: jax.Device | None = None) -> State:
    """Shapes of an agent's state, with where each leaf lies: what restoring one needs, too.

    That is up to `placement`, or else the device, by default the first.
    """
    here = jax.sharding.SingleDeviceSharding(device or jax.devices()[0])
    placement = agent.placement or (lambda state: jax.tree.map(lambda x: here, state))
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        shapes,
        placement(shapes),
    )


def default_chunk(agent: Agent) -> int:
    """A two-hundredth of the run, and at most a million environment steps."""
    most = max(1, MOST_ENV_STEPS_PER_CHUNK // agent.env_steps_per_iteration)
    return min(most, max(1, agent.num_iterations // 200))


@dataclass(frozen=True)
class Fault:
    """What made a run, or a member of a population, unsound."""

    iteration: int  # the one in which it was found, counted from 1
    env_steps: int  # behind the state at its end
    what: str  # "a gradient", or the name of a metric or a leaf
    leaves: tuple[str, ...]  # of the learner that are not finite

    def __str__(self) -> str:
        in_state = f"; in the state: {', '.join(self.leaves[:3])}" if self.leaves else ""
        return (
            f"{self.what} is not finite in iteration {self.iteration} "
            f"(env steps {self.env_steps}){in_state}"
        )


OnFault = Callable[[dict[int, Fault]], None]


def stop(faults: dict[int, Fault]) -> None:
    """Raise NonFiniteError for the earliest of the faults."""
    raise NonFiniteError(str(min(faults.values(), key=lambda fault: fault.iteration)))


class Chunk(NamedTuple):
    """A compiled program, for all states of one shape and place."""

    run: Callable[[State, int], tuple[State, Metrics]]  # up to `length` iterations
    length: int


def iterate(
    agent: Agent,
    state: State,
    chunk_iterations: int | None = None,
    on_fault: OnFault = stop,
) -> Iterator[tuple[State, Row]]:
    """Train chunk by chunk: `for state, row in iterate(agent, state): ...`.

    The state passed in and every state yielded is given up to the next chunk (its memory is
    reused), so copy what must outlive the loop body. Ctrl-C, or the stop button of a notebook,
    counts when the running chunk has been yielded: the last state is whole, to look at or go on
    from. A second one does not wait.

    `on_fault` is called after every chunk that cannot be trusted, with the fault of each member
    (0 where there is no population) that has one; by default it raises. What it does not raise, it
    accepts: members have nothing to do with each other, so the others go on as they would have.
    """
    return advance(agent, compile_chunk(agent, state, chunk_iterations), state, on_fault)


def compile_chunk(agent: Agent, state: State, chunk_iterations: int | None = None) -> Chunk:
    """The program that `advance` runs over and over, for states that look and lie like `state`."""
    length = default_chunk(agent) if chunk_iterations is None else chunk_iterations
    check_positive(chunk_iterations=length)
    # Where the state lies is where it stays: the compiled program takes no other.
    shardings = (jax.tree.map(lambda x: x.sharding, state), None)
    program = jax.jit(chunk(agent, length), donate_argnums=0, out_shardings=shardings)
    lowered = program.lower(state, 0)
    run = lowered.compile() if agent.placement else compile_program(lowered)
    return Chunk(run, length)


def advance(
    agent: Agent, compiled: Chunk, state: State, on_fault: OnFault = stop
) -> Iterator[tuple[State, Row]]:
    """`iterate` with a program that is compiled already."""
    length = compiled.length
    done = int(np.max(collectives.fetch(state.iteration)))
    while done < agent.num_iterations:
        # Chunks end at multiples of their length, wherever a resumed run begins.
        count = min(length - done % length, agent.num_iterations - done)
        began = time.perf_counter()
        # Raised within the chunk, an interrupt would leave nobody with a state.
        with Interrupts(_unheard()) as held:
            state, reported = compiled.run(state, count)
            metrics = {name: values[:count] for name, values in collectives.fetch(reported).items()}
            seconds = time.perf_counter() - began
            faults = find_faults(agent, state, metrics, done)
            if faults and not (agent.members_may_fail and len(faults) < state.iteration.size):
                on_fault(faults)
            done += count
            row = summarize(agent, metrics, done, seconds)
        yield state, row
        if held.noted:
            raise KeyboardInterrupt


def _unheard() -> tuple[int, ...]:
    """Ctrl-C, if nobody listens to it: it would be raised wherever the program happens to be."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return (signal.SIGINT,) if is_default else ()


def chunk(agent: Agent, length: int):
    """The function `(state, count) -> (state, metrics [length, ...])`, `count` <= `length`.

    The count is an argument, so the last, shorter chunk and a resumed one run the same program and
    give the same bits. Rows of the metrics from `count` on are zeros.
    """

    step = jax.jit(agent.step)  # Traced once, for the shapes and for the loop.

    def run(state: State, count: jax.typing.ArrayLike):
        shapes = jax.eval_shape(step, state)[1]
        metrics = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)

        def iteration(i, loop):
            state, metrics = loop
            state, reported = step(state)
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), metrics, reported)

        return jax.lax.fori_loop(0, count, iteration, (state, metrics))

    return run


def compile_program(program: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compile a program for the CPU it is lowered for, or for anything else as JAX would.

    XLA lets several threads of a CPU take the instructions of a program from a queue. Where each is
    a few microseconds of work, that takes longer than to run them in order. The numbers are those
    of `program.compile()` either way.
    """
    if jax.default_backend() != "cpu":
        return program.compile()
    operations = (program.cost_analysis() or {}).get("flops", float("inf"))
    return program.compile(IN_ORDER if operations < MOST_OPERATIONS_IN_ORDER else None)


def summarize(agent: Agent, metrics: dict[str, np.ndarray], done: int, seconds: float) -> Row:
    """One row from the metrics [k, ...] of a chunk: means, weighted by episodes where of those.

    What happens once in a while to a population is not a mean, but the latest of its kind.
    """
    episodes = metrics["charts/episodes"]
    members = episodes[0].size
    row: Row = {
        "env_steps": agent.env_steps(done),
        "iteration": done,
        "charts/SPS": len(episodes) * agent.env_steps_per_iteration * members / seconds,
        "charts/episodes": plain(episodes.sum(0)),
    }
    for name, values in metrics.items():
        if name in EPISODE_MEANS:
            totals = np.where(episodes > 0, values * episodes, 0.0).sum(0)
            ended = episodes.sum(0)
            row[name] = plain(
                np.divide(totals, ended, out=np.full_like(totals, np.nan), where=ended > 0)
            )
        elif name.startswith(LATEST):
            given = np.flatnonzero(~np.isnan(values.reshape(len(values), -1)).all(1))
            row[name] = plain(values[given[-1] if given.size else -1])
        elif name not in row and name not in NEVER:
            row[name] = plain(values.mean(0))
    return row


def plain(values: np.ndarray) -> Any:
    """Python numbers or nested lists of them, with None for what is not finite."""
    if values.ndim:
        return [plain(v) for v in values]
    return float(values) if np.isfinite(values) else None


def columns(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Rows as one array [rows, ...] for each name, NaN where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row)
    shapes = {n: next(np.shape(row[n]) for row in rows if n in row) for n in names}
    return {
        name: np.array(
            [np.asarray(row.get(name, np.full(shape, np.nan)), np.float64) for row in rows]
        )
        for name, shape in shapes.items()
    }


def find_faults(
    agent: Agent, state: State, metrics: dict[str, np.ndarray], done: int
) -> dict[int, Fault]:
    """What went wrong first, and when, for each member whose chunk cannot be trusted.

    Raises ReplicasDiffer when devices disagree about what was learnt.
    """
    # What an environment gave comes first in an iteration, then the gradient, then what follows.
    names = [name for name in metrics if not name.startswith(LATEST)]
    order = sorted(names, key=lambda n: (n not in NEVER, n != "losses/grad_norm"))
    rows = len(metrics["charts/episodes"])

    def bad(name: str) -> np.ndarray:
        """Whether a metric is at fault, bool [rows, members]."""
        values = metrics[name]
        if name in EPISODE_MEANS:
            values = np.where(metrics["charts/episodes"] > 0, values, 0.0)
        return (values > 0 if name in NEVER else ~np.isfinite(values)).reshape(rows, -1)

    if (
        collectives.REPLICAS_DIFFER in metrics
        and (differ := bad(collectives.REPLICAS_DIFFER)).any()
    ):
        raise ReplicasDiffer(
            f"in iteration {done + int(differ.any(1).argmax()) + 1} the learner stopped being the "
            "same on every device: an update of your own has to combine what it learns, with "
            "rljax.collectives.pmean or rljax.collectives.psum"
        )
    found = np.stack([bad(name) for name in order])  # [names, rows, members]
    both = (state.learner.update_state, state.worker.update_state)
    learnt = replace(state.learner, update_state=both)
    finite = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.ravel(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            collectives.fetch(are_finite(learnt, agent.population_axes))
        )
    }
    unsound = found.any((0, 1)) | ~np.stack(list(finite.values())).all(0)

    def fault(member: int) -> Fault:
        leaves = tuple(name for name, is_finite in finite.items() if not is_finite[member])
        when = found[:, :, member].any(0)
        row = int(when.argmax()) if when.any() else rows - 1
        what = order[int(found[:, row, member].argmax())] if when.any() else leaves[0]
        at = done + row + 1
        return Fault(at, agent.env_steps(at), CAUSES.get(what, what), leaves)

    return {member: fault(member) for member in np.flatnonzero(unsound).tolist()}


@partial(jax.jit, static_argnums=1)
def are_finite(tree: Any, population_axes: int) -> Any:
    """Whether each leaf is finite, bool [] or of the shape of the members."""

    def one(x: jax.Array) -> jax.Array:
        inner = tuple(range(population_axes, x.ndim))
        if jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.all(jnp.isfinite(x), axis=inner)
        return jnp.ones(x.shape[:population_axes], bool)

    return jax.tree.map(one, tree)


class Interrupts:
    """Within it, the first Ctrl-C or SIGTERM is noted instead of raised; a second Ctrl-C raises.

    `noted` is the signal that this process has heard of, 0 if none; `received` the one that all
    processes of a run had heard of when they last agreed.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self.noted = 0
        self.received: int | None = None
        self._signals = signals
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for number in self._signals:
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # Only the main thread may listen.
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agree(self) -> None:
        """Let every process know of a signal that has reached one of them."""
        self.received = collectives.most_of_processes(self.noted) or None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = number
