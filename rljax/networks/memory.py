"""Memories: layers that carry what they have seen from step to step.

Each is called with features of one step, or with those of whole sequences. Of a sequence,
everything that does not depend on the step before is computed for all steps at once.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax._cpu import product
from rljax.networks.initializers import orthogonal
from rljax.ops.recurrences import linear_recurrence
from rljax.types import Key


class GRU(nn.Module):
    """A gated recurrent unit; its carry [..., size] is what it gives.

    Source: Cho et al. 2014, https://arxiv.org/abs/1406.1078; gates as in `flax.linen.GRUCell`.
    """

    size: int

    @property
    def carry_size(self) -> int:
        """The numbers that are carried."""
        return self.size

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: jax.Array, done: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Features [B, F] and a carry [B, size] to features [B, size] and the next carry.

        With done [L, B], of sequences: features [L, B, F] and the carry before the first step to
        features [L, B, size] and the carry behind each step. Where an episode is done, the next
        step begins with a carry of zeros.
        """
        inputs = of_gates(3, self.size, "input")(x)
        kernel = self.param("recurrent", by_gate(3), (self.size, 3 * self.size))
        bias = self.param("bias", nn.initializers.zeros, (self.size,))

        def step(carry: jax.Array, inputs: jax.Array) -> jax.Array:
            remembered = jnp.split(product(carry, kernel), 3, axis=-1)
            seen = jnp.split(inputs, 3, axis=-1)
            reset, keep = (nn.sigmoid(i + h) for i, h in zip(seen[:2], remembered, strict=False))
            new = nn.tanh(seen[2] + reset * (remembered[2] + bias))
            return (1.0 - keep) * new + keep * carry

        carry = step_by_step(step, inputs, carry, done)
        return carry, carry


class LSTM(nn.Module):
    """Long short-term memory; its carry [..., 2 size] is the cell, then what it gives.

    Source: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; gates as in
    `flax.linen.LSTMCell`.
    """

    size: int

    @property
    def carry_size(self) -> int:
        """The numbers that are carried."""
        return 2 * self.size

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: jax.Array, done: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As `GRU`, with a carry [..., 2 size]."""
        inputs = of_gates(4, self.size, "input")(x)
        kernel = self.param("recurrent", by_gate(4), (self.size, 4 * self.size))

        def step(carry: jax.Array, inputs: jax.Array) -> jax.Array:
            cell, given = jnp.split(carry, 2, axis=-1)
            write, forget, new, give = jnp.split(inputs + product(given, kernel), 4, axis=-1)
            cell = nn.sigmoid(forget) * cell + nn.sigmoid(write) * nn.tanh(new)
            return jnp.concatenate([cell, nn.sigmoid(give) * nn.tanh(cell)], axis=-1)

        carry = step_by_step(step, inputs, carry, done)
        return carry[..., self.size :], carry


class MinGRU(nn.Module):
    """A GRU whose gates see the input alone, so that a sequence is one parallel scan.

    Its carry [..., size] is a mean of the inputs, weighted by gates. A layer on the carry and on
    the input makes features of it.

    Source: Feng et al. 2024, section 3.1, https://arxiv.org/abs/2410.01201.
    """

    size: int

    @property
    def carry_size(self) -> int:
        """The numbers that are carried."""
        return self.size

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: jax.Array, done: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As `GRU`."""
        gate, new = jnp.split(of_gates(2, self.size, "input", spread_in_time)(x), 2, axis=-1)
        write = nn.sigmoid(gate)
        keep, written = 1.0 - write, write * new
        if done is None:
            carry = keep * carry + written
        else:
            begins = jnp.concatenate([jnp.zeros_like(done[:1]), done[:-1]])
            keep = jnp.where(begins[..., None], 0.0, keep)
            carry = linear_recurrence(keep, written, carry)
        joined = jnp.concatenate([x, carry], axis=-1)
        return nn.silu(of_gates(1, self.size, "output")(joined)), carry


LONGEST_TIME = 128.0  # steps in which a number of the carry fades to about a third, at first

MEMORIES = {"gru": GRU, "lstm": LSTM, "min_gru": MinGRU}
"""The memories by the name of a network that has them."""


def spread_in_time(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Biases of MinGRU's input: at first each number of a carry fades at a rate of its own.

    Gates that all begin at one half forget in a few steps, and no gradient reaches what was before.

    Source: Tallec and Ollivier 2018, section 2.2 (chrono initialization),
    https://arxiv.org/abs/1804.11188; here times are spread evenly on a scale of logarithms.
    """
    size = shape[0] // 2
    log_time = jax.random.uniform(key, (size,), dtype, maxval=math.log(LONGEST_TIME))
    return jnp.concatenate([-log_time, jnp.zeros(size, dtype)])


def of_gates(
    count: int, size: int, name: str, bias_init: Callable = nn.initializers.zeros
) -> nn.Dense:
    """A dense layer whose outputs are `count` gates of one size, each with orthogonal weights."""
    return nn.Dense(
        count * size,
        kernel_init=by_gate(count),
        bias_init=bias_init,
        dot_general=lambda x, w, *_, **__: product(x, w),
        name=name,
    )


def by_gate(count: int) -> Callable[..., jax.Array]:
    """Weights [F, count x size] that are orthogonal for each gate."""

    def init(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
        gate = (shape[0], shape[1] // count)
        keys = jax.random.split(key, count)
        return jnp.concatenate([orthogonal()(k, gate, dtype) for k in keys], axis=-1)

    return init


def step_by_step(
    step: Callable[[jax.Array, jax.Array], jax.Array],
    inputs: jax.Array,
    carry: jax.Array,
    done: jax.Array | None,
) -> jax.Array:
    """The carry after one step of inputs [B, ...], or after each of a sequence [L, B, ...].

    Where an episode is done [L, B], the next step begins with zeros.
    """
    if done is None:
        return step(carry, inputs)

    def one(carry: jax.Array, inputs_and_done: tuple[jax.Array, jax.Array]):
        inputs, done = inputs_and_done
        after = step(carry, inputs)
        return jnp.where(done[:, None], 0.0, after), after

    return jax.lax.scan(one, carry, (inputs, done))[1]
