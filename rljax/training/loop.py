"""The host loop: compiled chunks of iterations, one transfer of metrics each, then hooks."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np

from rljax.parallel import processes
from rljax.training.compilation import Chunk, compile_chunk, prepare
from rljax.training.faults import OnFault, find_faults, stop
from rljax.training.interrupts import Interrupts, unheard
from rljax.training.rows import TOO_MUCH, Hook, Row, columns, summarize, too_much
from rljax.types import Agent, Key, State


def train(
    agent: Agent,
    start: Key | State,
    *,
    hooks: Sequence[Hook] = (),
    chunk_iterations: int | None = None,
    interrupts: Interrupts | None = None,
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
        warn: told in a sentence, once, what keeps an agent from learning: see `TOO_MUCH`; and of
            each actor that fails.

    Returns the last state, and the history: one array [rows] or [rows, P] for each name, NaN where
    a row has no value.

    Raises NonFiniteError when a number becomes NaN or infinite (of every member, where the agent's
    may fail), and ReplicasDiffer when devices disagree about what was learnt, before any hook
    sees it.
    """
    rows: list[Row] = []
    warned: set[str] = set()
    total = agent.env_steps(agent.num_iterations)
    beginning, compiled = prepare(agent, start, chunk_iterations, warn)
    state = beginning
    with interrupts or Interrupts() as listening, closing(compiled):
        for state, row in advance(agent, compiled, beginning):
            listening.agree()
            for name in too_much(row, total) - warned:
                warned.add(name)
                warn(TOO_MUCH[name][1])
            for hook in hooks:
                row.update(hook(state, row) or {})
            rows.append(row)
            if listening.received is not None:
                break
    return state, columns(rows)


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
    compiled = compile_chunk(agent, state, chunk_iterations)

    def chunks() -> Iterator[tuple[State, Row]]:
        with closing(compiled):
            yield from advance(agent, compiled, state, on_fault)

    return chunks()


def advance(
    agent: Agent, compiled: Chunk, state: State, on_fault: OnFault = stop
) -> Iterator[tuple[State, Row]]:
    """`iterate` with a program that is compiled already."""
    length = compiled.length
    done = int(np.max(processes.fetch(state.iteration)))
    while done < agent.num_iterations:
        # Chunks end at multiples of their length, wherever a resumed run begins.
        count = min(length - done % length, agent.num_iterations - done)
        began = time.perf_counter()
        # Raised within the chunk, an interrupt would leave nobody with a state.
        with Interrupts(unheard()) as held:
            state, reported = compiled.run(state, count)
            metrics = {name: values[:count] for name, values in processes.fetch(reported).items()}
            seconds = time.perf_counter() - began
            faults = find_faults(agent, state, metrics, done)
            if faults and not (agent.members_may_fail and len(faults) < state.iteration.size):
                on_fault(faults)
            done += count
            row = summarize(agent, metrics, done, seconds)
        yield state, row
        if held.noted:
            raise KeyboardInterrupt
