"""The host loop: compiled chunks of iterations, one transfer of metrics each, then hooks."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.errors import NonFiniteError, check_positive
from rljax.types import Agent, Key, State

Row = dict[str, Any]  # one point of the curves: numbers, or lists [P] of a population
Hook = Callable[[State, Row], Row | None]

MOST_ENV_STEPS_PER_CHUNK = 1_000_000
EPISODE_MEANS = ("charts/episodic_return", "charts/episodic_length")


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
        agent: the agent, or `rljax.vmap` of one.
        start: a key (keys [P] for a population) to begin with, or a state to go on from.
        hooks: called in order after every chunk as `hook(state, row)`; what one returns is added
            to the row, so that those behind it see it too.
        chunk_iterations: iterations between two rows; by default a two-hundredth of the run.
        interrupts: who listens to Ctrl-C and SIGTERM; by default the loop does, and an interrupt
            ends training after the running chunk and keeps what there is.

    Returns the last state, and the history: one array [rows] or [rows, P] for each name, NaN where
    a row has no value.

    Raises NonFiniteError when a number becomes NaN or infinite, before any hook sees it.
    """
    rows: list[Row] = []
    state = beginning = begin(agent, start)
    with interrupts or Interrupts() as listening:
        for state, row in iterate(agent, beginning, chunk_iterations):
            for hook in hooks:
                row.update(hook(state, row) or {})
            rows.append(row)
            if listening.received is not None:
                break
    return state, columns(rows)


def begin(agent: Agent, start: Key | State) -> State:
    """A fresh state from key(s), or a copy of the state `start`, which stays usable."""
    if isinstance(start, State):
        return jax.tree.map(jnp.copy, start)
    return jax.jit(agent.init)(start)


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
    run = jax.jit(chunk(agent, length), donate_argnums=0).lower(state, 0).compile()
    done = int(np.max(jax.device_get(state.iteration)))
    while done < agent.num_iterations:
        # Chunks end at multiples of their length, wherever a resumed run begins.
        count = min(length - done % length, agent.num_iterations - done)
        began = time.perf_counter()
        state, metrics = run(state, count)
        metrics = {name: values[:count] for name, values in jax.device_get(metrics).items()}
        seconds = time.perf_counter() - began
        check_finite(agent, state, metrics, done)
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
    """One row from the metrics [k, ...] of a chunk: means, weighted by episodes where of those."""
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
        elif name not in row and not name.startswith("nonfinite/"):
            row[name] = plain(values.mean(0))
    return row


def plain(values: np.ndarray) -> Any:
    """Python numbers or nested lists of them, with None for what is not a number."""
    if values.ndim:
        return [plain(v) for v in values]
    return None if np.isnan(values) else float(values)


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


def check_finite(agent: Agent, state: State, metrics: dict[str, np.ndarray], done: int) -> None:
    """Raise NonFiniteError naming what went wrong first, and when, if anything is not finite."""

    def first(name: str, values: np.ndarray) -> int | None:
        if name in EPISODE_MEANS and not name.startswith("nonfinite/"):
            values = np.where(metrics["charts/episodes"] > 0, values, 0.0)
        bad = values > 0 if name.startswith("nonfinite/") else ~np.isfinite(values)
        where = np.flatnonzero(bad.reshape(len(values), -1).any(1))
        return int(where[0]) if where.size else None

    # What an environment gave comes first in an iteration, then the gradient, then what follows.
    order = sorted(metrics, key=lambda n: (not n.startswith("nonfinite/"), n != "losses/grad_norm"))
    found = [(i, name) for name in order if (i := first(name, metrics[name])) is not None]
    leaves = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(_finite(state.learner))
        if not leaf
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
    in_state = f"; in the state: {', '.join(leaves[:3])}" if leaves else ""
    at = done + iteration + 1
    raise NonFiniteError(
        f"{what or leaves[0]} is not finite in iteration {at} "
        f"(env steps {agent.env_steps(at)}){in_state}"
    )


@jax.jit
def _are_finite(tree):
    return jax.tree.map(
        lambda x: jnp.all(jnp.isfinite(x)) if jnp.issubdtype(x.dtype, jnp.floating) else True, tree
    )


def _finite(tree):
    return jax.device_get(_are_finite(tree))


class Interrupts:
    """Within it, the first Ctrl-C or SIGTERM is noted instead of raised; a second Ctrl-C raises."""

    def __init__(self) -> None:
        self.received: int | None = None
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

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
