"""The programs of a training: from a key to a state, and over a chunk of iterations."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rljax import _cpu
from rljax.distributed.learner import HostTraining
from rljax.envs.simulators import on_host
from rljax.errors import check_positive
from rljax.types import Agent, Key, Metrics, State

Warn = Callable[[str], None]

MOST_ENV_STEPS_PER_CHUNK = 1_000_000
MOST_STEPS_UNOPTIMIZED = 20_000  # of warm-up; for fewer, optimizing takes longer than it saves


def nothing() -> None:
    """What a compiled program has to close."""


class Chunk(NamedTuple):
    """A compiled program, for all states of one shape and place, or actors and a learner."""

    run: Callable[[State, int], tuple[State, Metrics]]  # up to `length` iterations
    length: int
    close: Callable[[], None] = nothing


def prepare(
    agent: Agent,
    start: Key | State,
    chunk_iterations: int | None = None,
    warn: Warn = warnings.warn,
) -> tuple[State, Chunk]:
    """The state to begin with, where the agent wants it, and the program to advance it.

    From key(s) the state is a fresh one; a state is copied, so that the given one stays usable.
    """
    if not isinstance(start, State):
        init, compiled = compile_training(agent, start, chunk_iterations, warn)
        return init(start), compiled
    copy = jax.tree.map(jnp.copy, start)
    if agent.placement is not None:
        copy = jax.device_put(copy, agent.placement(copy))
    elif any(len(x.sharding.device_set) > 1 for x in jax.tree.leaves(copy)):
        copy = jax.device_put(copy, jax.devices()[0])
    return copy, compile_chunk(agent, copy, chunk_iterations, warn)


def compile_training(
    agent: Agent, key: Key, chunk_iterations: int | None = None, warn: Warn = warnings.warn
) -> tuple[Callable[[Key], State], Chunk]:
    """The programs of a training from its beginning: from key(s) to a state, and of a chunk.

    They are compiled side by side. The first runs once, so it is compiled quickly rather than well:
    its numbers are those of `jax.jit(agent.init)` up to rounding.
    """
    on = key.devices()
    if agent.placement is None and len(on) > 1:  # Where the state lies is up to the compiler.
        init = jax.jit(agent.init)
        return init, compile_chunk(agent, init(key), chunk_iterations, warn)
    fresh = jax.jit(agent.init).trace(key)
    device = next(iter(on))
    like = described(agent, fresh.out_info, device)
    is_short = agent.warmup_env_steps <= MOST_STEPS_UNOPTIMIZED
    options = _cpu.options_to_run_once(device) if is_short else None
    with ThreadPoolExecutor(max_workers=1) as meanwhile:
        compiling = meanwhile.submit(fresh.lower().compile, options)
        compiled = compile_chunk(agent, like, chunk_iterations, warn)
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


def compile_chunk(
    agent: Agent, state: State, chunk_iterations: int | None = None, warn: Warn = warnings.warn
) -> Chunk:
    """What `advance` runs over and over, for states that look and lie like `state`.

    It is a compiled program, or, for a simulator of the host, actors and a learner; `warn` is told
    in a sentence of each actor that fails.
    """
    length = default_chunk(agent) if chunk_iterations is None else chunk_iterations
    check_positive(chunk_iterations=length)
    if on_host(agent.env):
        training = HostTraining(agent, warn)
        return Chunk(training.run, length, training.close)
    # Where the state lies is where it stays: the compiled program takes no other.
    shardings = (jax.tree.map(lambda x: x.sharding, state), None)
    program = jax.jit(chunk(agent, length), donate_argnums=0, out_shardings=shardings)
    lowered = program.lower(state, 0)
    if agent.placement:
        return Chunk(lowered.compile(), length)
    device = next(iter(state.iteration.sharding.device_set))
    return Chunk(lowered.compile(_cpu.options_of(lowered, device)), length)


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
