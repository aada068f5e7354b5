"""Bytes of a replay buffer beside the arithmetic, and memory of the process while it is used.

    python benchmarks/studies/replay_memory.py

A transition has an observation of 17 floats and an action of 6, as those of the half-cheetah. The
buffer is filled three times over: 64 environments add a step, then 256 transitions are sampled.
"""

import resource
from functools import partial
from pathlib import Path

import click
import jax
import jax.numpy as jnp

from rljax import replay
from rljax.types import Extras, Transition

ENVS, BATCH, OBS, ACTION = 64, 256, 17, 6


def step(time: jax.Array) -> Transition:
    """A step [1, N] of all environments."""
    number = time.astype(jnp.float32)
    ended = jnp.zeros((1, ENVS), bool)
    return Transition(
        obs=jnp.full((1, ENVS, OBS), number),
        action=jnp.full((1, ENVS, ACTION), number),
        reward=jnp.full((1, ENVS), number),
        terminated=ended,
        truncated=ended,
        next_obs=jnp.full((1, ENVS, OBS), number + 1),
        extras=Extras(),
    )


def resident() -> int:
    """Bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@click.command(help=__doc__.splitlines()[0])
@click.option("--rows", default=1_000_000, show_default=True, help="Transitions.")
def main(rows: int) -> None:
    """Print the bytes of the buffer, then those of the process."""
    buffer = replay.uniform(rows, BATCH)
    length = -(-rows // ENVS)

    @partial(jax.jit, donate_argnums=0)
    def fill(state, first, key):
        def cycle(loop, time):
            state, total = loop
            state = buffer.add(state, step(time))
            sample = buffer.sample(state, jax.random.fold_in(key, time))
            return (state, total + sample.obs.sum()), None

        return jax.lax.scan(cycle, (state, jnp.float32(0)), first + jnp.arange(length))[0]

    def begin():
        return buffer.init(step(jnp.int32(0)))

    key = jax.random.key(0)
    shapes = jax.eval_shape(begin)
    programs = jax.jit(begin).lower().compile(), fill.lower(shapes, jnp.int32(0), key).compile()
    before = resident()
    state = programs[0]()
    size, floats, flags = replay.size_in_bytes(state), 2 * OBS + ACTION + 1, 2
    least = (4 * floats + flags) * ENVS * length
    print(f"{size:,} bytes; {floats} floats and {flags} flags: {least:,}; ratio {size / least:.3f}")
    for turn in range(3):
        state, _ = jax.block_until_ready(programs[1](state, jnp.int32(turn * length), key))
        print(f"the process after it was filled {turn + 1} times: +{resident() - before:,} bytes")


if __name__ == "__main__":
    main()
