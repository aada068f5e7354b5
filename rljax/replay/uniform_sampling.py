"""Experience sampled evenly: Lin 1992, https://doi.org/10.1007/BF00992699."""

from functools import partial

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.errors import check_at_most, check_positive
from rljax.replay import ring
from rljax.replay.ring import Replay, ReplayState
from rljax.types import Key, Transition


def uniform(
    buffer_size: int,
    batch_size: int,
    window: int = 1,
    *,
    stride: int = 1,
    extras: tuple[str, ...] = (),
    first_extras: tuple[str, ...] = (),
) -> Replay:
    """A replay buffer of the last steps in which all windows are equally likely.

    Args:
        buffer_size: steps to store, over all environments; rounded up so that each environment
            gets the same number of whole rollouts.
        batch_size: windows B in a sample.
        window: consecutive steps K in each.
        stride: rows from the beginning of a window to that of the next; it divides rollouts.
        extras: names of the extras to store besides the fields of a step.
        first_extras: names of those to store of the rows that begin windows alone.

    Raises UsageError for counts that do not fit; `init` does if there is too little device memory.
    """
    check_positive(buffer_size=buffer_size, batch_size=batch_size, window=window, stride=stride)
    check_at_most("batch_size", batch_size, "buffer_size", buffer_size)

    def sample(state: ReplayState, key: Key) -> Transition:
        envs, length, _ = state.storage.shape
        windows = (state.size[0] - window) // stride + 1
        count = collectives.share("batch_size", batch_size)
        # The remainder of 32 random bits is even enough, and a third of the cost of `randint`.
        bits = jax.random.bits(key, (count,))
        sampled = bits % (envs * windows).astype(jnp.uint32)
        # Unsigned until here: rounding towards 0 is then all there is to a quotient.
        age, env = (x.astype(jnp.int32) for x in divmod(sampled, jnp.uint32(envs)))
        oldest = (state.cursor[0] - state.size[0]) % length
        return ring.read(state, env, oldest + stride * age, window, jnp.float32(1))

    return Replay(
        init=partial(
            ring.init,
            buffer_size=buffer_size,
            window=window,
            extras=extras,
            stride=stride,
            first_extras=first_extras,
        ),
        add=ring.add,
        sample=sample,
        prioritize=lambda state, batch: state,
    )
