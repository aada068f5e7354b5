import os
import signal

import jax
import pytest
from states import digest

import rljax
from rljax.training import compilation, loop


def test_an_interrupt_keeps_the_work(agent):
    def interrupt(state, row):
        if row["iteration"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    state, history = rljax.train(agent, jax.random.key(0), chunk_iterations=2, hooks=[interrupt])
    # Heard of between a chunk and its hooks, so that they all know: here after the next one.
    assert int(state.iteration) == 4 and len(history["env_steps"]) == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def interrupted(monkeypatch):
    """From its call on, every chunk is interrupted while it runs, as a notebook does."""
    fetch = loop.processes.fetch

    def interrupting(tree):
        if isinstance(tree, dict) and "charts/episodes" in tree:
            os.kill(os.getpid(), signal.SIGINT)
        return fetch(tree)

    return lambda: monkeypatch.setattr(loop.processes, "fetch", interrupting)


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C as in a terminal: a job in the background, or one worker of several, ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.long
def test_an_interrupt_within_a_chunk_leaves_the_last_state_whole(agent, interrupted, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    rows = []
    with pytest.raises(KeyboardInterrupt):
        for last, row in rljax.iterate(agent, compilation.prepare(agent, jax.random.key(0))[0], 4):
            state = last
            rows.append(row)
            interrupted()
    assert [row["iteration"] for row in rows] == [4, 8]
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    # Going on from it ends where a run that nobody stopped does.
    state, _ = rljax.train(agent, state, chunk_iterations=4)
    assert digest(state) == digest(rljax.train(agent, jax.random.key(0), chunk_iterations=4)[0])


def test_an_interrupt_within_a_chunk_ends_train_without_an_error(agent, interrupted):
    interrupted()
    state, history = rljax.train(agent, jax.random.key(0), chunk_iterations=4)
    assert int(state.iteration) == 4 and history["env_steps"].tolist() == [128]


def test_a_second_interrupt_does_not_wait_for_the_chunk(agent, monkeypatch):
    def impatient(tree):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one is not raised")

    rows = rljax.iterate(agent, jax.jit(agent.init)(jax.random.key(0)), 4)
    next(rows)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop.processes, "fetch", impatient)
        next(rows)
