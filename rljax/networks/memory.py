"""Memories: layers that carry what they have seen from step to step.

Each is called with features of one step, or with those of whole sequences. Of a sequence,
everything that does not depend on the step before is computed for all steps at once.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
        carry = step_by_step(gru_cell, kernel, bias, inputs, carry, done)
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
        carry = step_by_step(lstm_cell, kernel, (), inputs, carry, done)
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


Cell = Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]
"""(bias, state [..., H], seen [..., G x H], remembered [..., G x H]) to the next carry [..., C x H].

The state is the first H numbers of a carry, what is seen comes of inputs, and what is remembered of
the last H numbers of the carry. Each of H units has its own: no unit reads another one's.
"""


def gru_cell(bias: jax.Array, state: jax.Array, seen: jax.Array, remembered: jax.Array):
    """The next carry of a `GRU`, with the bias [H] of what is remembered."""
    size = state.shape[-1]
    # One sigmoid of both gates: XLA's CPU backend is slow where it makes one in a larger loop.
    gates = nn.sigmoid(seen[..., : 2 * size] + remembered[..., : 2 * size])
    reset, keep = jnp.split(gates, 2, axis=-1)
    new = nn.tanh(seen[..., 2 * size :] + reset * (remembered[..., 2 * size :] + bias))
    return (1.0 - keep) * new + keep * state


def lstm_cell(bias: tuple, state: jax.Array, seen: jax.Array, remembered: jax.Array):
    """The next carry of an `LSTM`."""
    gates = seen + remembered
    write, forget, _, give = jnp.split(nn.sigmoid(gates), 4, axis=-1)
    new = nn.tanh(jnp.split(gates, 4, axis=-1)[2])
    cell = forget * state + write * new
    return jnp.concatenate([cell, give * nn.tanh(cell)], axis=-1)


def step_by_step(
    cell: Cell,
    kernel: jax.Array,
    bias: Any,
    inputs: jax.Array,
    carry: jax.Array,
    done: jax.Array | None,
) -> jax.Array:
    """The carry after one step of inputs [B, G x H], or after each of a sequence [L, B, G x H].

    Where an episode is done [L, B], the next step begins with zeros.
    """
    if done is None:
        size = len(kernel)
        return cell(bias, carry[..., :size], inputs, product(carry[..., -size:], kernel))
    return _unrolled(cell, kernel, bias, inputs, carry, done)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _unrolled(cell: Cell, kernel, bias, inputs, carry, done) -> jax.Array:
    """The carry after each step of a sequence, as `step_by_step` gives it.

    Only what hangs on the step before is in a loop, backwards as well: that of a derivative has one
    product with the kernel and the slopes of the cell, which are made for all steps at once.
    """

    def one(carry: jax.Array, inputs_and_done: tuple[jax.Array, jax.Array]):
        inputs, done = inputs_and_done
        after = step_by_step(cell, kernel, bias, inputs, carry, None)
        return jnp.where(done[:, None], 0.0, after), after

    return jax.lax.scan(one, carry, (inputs, done))[1]


@_unrolled.defjvp
def _unrolled_jvp(cell: Cell, primals: tuple, tangents: tuple):
    kernel, bias, inputs, carry, done = primals
    of_kernel, of_bias, of_inputs, of_carry, _ = tangents
    size, carries = len(kernel), _unrolled(cell, *primals)
    before = jnp.concatenate([carry[None], jnp.where(done[:-1, :, None], 0.0, carries[:-1])])
    state, given = before[..., :size], before[..., -size:]
    remembered, of_remembered = jax.jvp(lambda k: product(given, k), (kernel,), (of_kernel,))
    # What moves each carry apart from the carry before it, and how far it moves with its state and
    # with each of the numbers that it remembers: [L, B, C, 1 + G, H].
    _, moved = jax.jvp(
        lambda bias, inputs, remembered: cell(bias, state, inputs, remembered),
        (bias, inputs, remembered),
        (of_bias, of_inputs, of_remembered),
    )
    slopes = _slopes(cell, bias, state, inputs, remembered)

    def one(of_before: jax.Array, of_step: tuple[jax.Array, jax.Array, jax.Array]):
        slopes, moved, done = of_step
        asked = [of_before[:, :size], product(of_before[:, -size:], kernel)]
        asked = jnp.concatenate(asked, axis=-1).reshape(len(done), 1, -1, size)
        of_after = jnp.sum(slopes * asked, axis=-2).reshape(moved.shape) + moved
        return jnp.where(done[:, None], 0.0, of_after), of_after

    return carries, jax.lax.scan(one, of_carry, (slopes, moved, done))[1]


def _slopes(cell: Cell, bias, state, seen, remembered) -> jax.Array:
    """[..., C, 1 + G, H]: how far each number of the next carry moves with those of its unit."""
    size = state.shape[-1]
    count = 1 + remembered.shape[-1] // size

    def with_one(direction: jax.Array) -> jax.Array:
        tangent = jnp.broadcast_to(direction[:, None], (count, size)).ravel()
        _, slope = jax.jvp(
            lambda state, remembered: cell(bias, state, seen, remembered),
            (state, remembered),
            (
                jnp.broadcast_to(tangent[:size], state.shape),
                jnp.broadcast_to(tangent[size:], remembered.shape),
            ),
        )
        return slope.reshape(*slope.shape[:-1], -1, size)

    return jnp.stack([with_one(direction) for direction in np.eye(count)], axis=-2)
