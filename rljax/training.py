"""The host loop: compiled chunks of iterations, one transfer of metrics each, then hooks."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax import devices
from rljax.errors import NonFiniteError, ReplicasDiffer, check_positive
from rljax.types import Agent, Key, State

Row = dict[str, Any]  # one point of the curves: numbers, or lists [P] of a population
Hook = Callable[[State, Row], Row | None]

MOST_ENV_STEPS_PER_CHUNK = 1_000_000
NEVER = ("nonfinite/obs", "nonfinite/reward", devices.REPLICAS_DIFFER)  # anything but 0 is an end
EPISODE_MEANS = ("charts/episodic_return", "charts/episodic_length")
LATEST = "population/"  # names of which a row has the latest value; NaN is one that is not due


def train(
    agent: Agent,
    start: Key | State,
    *,
    hooks: Sequence[Hook] = (),
    chunk_iterations: int | None = None,
    interrupts: "Interrupts | None" = None,
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

    Returns the last state, and the history: one array [rows] or [rows, P] for each name, NaN where
    a row has no value.

    Raises NonFiniteError when a number becomes NaN or infinite (of all members, where the agent's
    may fail), and ReplicasDiffer when devices disagree about what was learnt, before any hook
    sees it.
    """
    rows: list[Row] = []
    state = beginning = begin(agent, start)
    with interrupts or Interrupts() as listening:
        for state, row in iterate(agent, beginning, chunk_iterations):
            listening.agree()
            for hook in hooks:
                row.update(hook(state, row) or {})
            rows.append(row)
            if listening.received is not None:
                break
    return state, columns(rows)


def begin(agent: Agent, start: Key | State) -> State:
    """A fresh state from key(s), or a copy of the state `start`, which stays usable.

    Both lie where the agent wants them: on one device, or spread over several.
    """
    if not isinstance(start, State):
        return jax.jit(agent.init)(start)
    copy = jax.tree.map(jnp.copy, start)
    if agent.placement is not None:
        return jax.device_put(copy, agent.placement(copy))
    is_spread = any(len(x.sharding.device_set) > 1 for x in jax.tree.leaves(copy))
    return jax.device_put(copy, jax.devices()[0]) if is_spread else copy


def default_chunk(agent: Agent) -> int:
    """A two-hundredth of the run, and at most a million environment steps."""
    most = max(1, MOST_ENV_STEPS_PER_CHUNK // agent.env_steps_per_iteration)
    return min(most, max(1, agent.num_iterations // 200))


def iterate(
    agent: Agent, state: State, chunk_iterations: int | None = None
) -> Iterator[tuple[State, Row]]:
    """Train chunk by chunk: `for state, row in iterate(agent, state): ...`.

    The state passed in and every state yielded is given up to the next chunk (its memory is
    reused), so copy what must outlive the loop body.
    """
    length = default_chunk(agent) if chunk_iterations is None else chunk_iterations
    check_positive(chunk_iterations=length)
    # Where the state lies is where it stays: the compiled program takes no other.
    shardings = (jax.tree.map(lambda x: x.sharding, state), None)
    program = jax.jit(chunk(agent, length), donate_argnums=0, out_shardings=shardings)
    run = program.lower(state, 0).compile()
    done = int(np.max(devices.fetch(state.iteration)))
    while done < agent.num_iterations:
        # Chunks end at multiples of their length, wherever a resumed run begins.
        count = min(length - done % length, agent.num_iterations - done)
        began = time.perf_counter()
        state, metrics = run(state, count)
        metrics = {name: values[:count] for name, values in devices.fetch(metrics).items()}
        seconds = time.perf_counter() - began
        check_sound(agent, state, metrics, done)
        done += count
        yield state, summarize(agent, metrics, done, seconds)


def chunk(agent: Agent, length: int):
    """The function `(state, count) -> (state, metrics [length, ...])`, `count` <= `length`.

    The count is an argument, so the last, shorter chunk and a resumed one run the same program and
    give the same bits. Rows of the metrics from `count` on are zeros.
    """

    def run(state: State, count: jax.typing.ArrayLike):
        shapes = jax.eval_shape(agent.step, state)[1]
        metrics = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)

        def iteration(i, loop):
            state, metrics = loop
            state, reported = agent.step(state)
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), metrics, reported)

        return jax.lax.fori_loop(0, count, iteration, (state, metrics))

    return run


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


def check_sound(agent: Agent, state: State, metrics: dict[str, np.ndarray], done: int) -> None:
    """Raise an error that names what went wrong first, and when, if a chunk cannot be trusted."""

    def first(name: str, values: np.ndarray) -> int | None:
        if name in EPISODE_MEANS:
            values = np.where(metrics["charts/episodes"] > 0, values, 0.0)
        bad = values > 0 if name in NEVER else ~np.isfinite(values)
        every = agent.members_may_fail and name != devices.REPLICAS_DIFFER
        where = np.flatnonzero((np.all if every else np.any)(bad.reshape(len(values), -1), axis=1))
        return int(where[0]) if where.size else None

    # What an environment gave comes first in an iteration, then the gradient, then what follows.
    names = [name for name in metrics if not name.startswith(LATEST)]
    order = sorted(names, key=lambda n: (n not in NEVER, n != "losses/grad_norm"))
    found = [(i, name) for name in order if (i := first(name, metrics[name])) is not None]
    survives = np.any if agent.members_may_fail else np.all
    finite = devices.fetch(_are_finite(state.learner, agent.population_axes))
    leaves = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(finite)
        if not survives(leaf)
    ]
    if not found and not leaves:
        return
    iteration, name = (
        min(found, key=lambda f: f[0]) if found else (len(metrics["charts/episodes"]) - 1, "")
    )
    what = {
        "nonfinite/obs": "an observation from the environment",
        "nonfinite/reward": "a reward from the environment",
        "losses/grad_norm": "a gradient",
    }.get(name, name)
    if name == devices.REPLICAS_DIFFER:
        raise ReplicasDiffer(
            f"in iteration {done + iteration + 1} the learner stopped being the same on every "
            "device: an update of your own has to combine what it learns, with "
            "rljax.devices.mean or rljax.devices.total"
        )
    in_state = f"; in the state: {', '.join(leaves[:3])}" if leaves else ""
    at = done + iteration + 1
    raise NonFiniteError(
        f"{what or leaves[0]} is not finite in iteration {at} "
        f"(env steps {agent.env_steps(at)}){in_state}"
    )


def are_finite(tree: Any, axes: int = 0) -> Any:
    """Whether each leaf is finite: bool, with the leading `axes` of the leaf."""

    def one(x: jax.Array) -> jax.Array:
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        finite = jnp.isfinite(x) if floating else jnp.ones(x.shape, bool)
        return jnp.all(finite, axis=tuple(range(axes, x.ndim)))

    return jax.tree.map(one, tree)


_are_finite = jax.jit(are_finite, static_argnums=1)


class Interrupts:
    """Within it, the first Ctrl-C or SIGTERM is noted instead of raised; a second Ctrl-C raises.

    `received` is the signal that all processes of a run have heard of when they last agreed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._noted = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM):
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
        self.received = devices.most_of_processes(self._noted) or None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._noted = number
