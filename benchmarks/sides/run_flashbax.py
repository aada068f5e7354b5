"""flashbax's replays: add a step of all environments, then sample, again and again."""

import warnings

import side

warnings.simplefilter("ignore")

import flashbax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402


def main() -> None:
    """The cycles of a full buffer; the result is the part of samples that are what was added."""
    work = side.work()
    rows, envs, batch, cycles = (work[n] for n in ("rows", "num_envs", "batch_size", "cycles"))
    prioritized = work["prioritized"]
    make = flashbax.make_prioritised_flat_buffer if prioritized else flashbax.make_flat_buffer
    buffer = make(rows, batch, batch, add_batch_size=envs)

    def step(time):
        """Its number is in everything: the observation, and the reward."""
        number = time.astype(jnp.float32)
        return {
            "obs": jnp.full((envs, 4), number),
            "action": jnp.zeros(envs, jnp.int32),
            "reward": jnp.full(envs, number),
            "done": jnp.zeros(envs, bool),
        }

    full = rows // envs + 5
    example = jax.tree.map(lambda x: x[0], step(jnp.int32(0)))

    def cycle(loop, key):
        state, time, right, _ = loop
        state = buffer.add(state, step(time))
        sample = buffer.sample(state, key)
        first, second = sample.experience.first, sample.experience.second
        if prioritized:
            state = buffer.set_priorities(state, sample.indices, first["reward"] % 7 + 1)
        new = (first["obs"] + 1 == second["obs"]).all(1) & (first["reward"] > time - rows // envs)
        # The whole of the sample is carried, so that all of it has to be made.
        return (state, time + 1, right + new.mean(), sample), None

    fill = jax.jit(
        lambda: jax.lax.fori_loop(
            0, full, lambda time, state: buffer.add(state, step(time)), buffer.init(example)
        )
    )
    state = fill()
    sample = buffer.sample(state, jax.random.key(0))
    keys = jax.random.split(jax.random.key(work["seed"]), cycles)

    def run(state, sample, time, keys):
        return jax.lax.scan(cycle, (state, time, jnp.float32(0), sample), keys)[0]

    program, compiling = side.compiled(run, state, sample, jnp.int32(full), keys, donate_argnums=0)
    loop = (state, jnp.int32(full), jnp.float32(0), sample)

    def once():
        nonlocal loop
        loop = jax.block_until_ready(program(loop[0], loop[3], loop[1], keys))
        return loop[2] / cycles

    seconds, right = side.timed(once, side.LEAST_SECONDS)
    side.answer(cycles, seconds, right, compiling, ["flashbax", "jax", "jaxlib"])


main()
