"""Memories: layers that carry what they have seen from step to step.

Each is called with features of one step, or with those of whole sequences. Of a sequence,
everything that does not depend on the step before is computed for all steps at once.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax._cpu import product
from rljax.networks.attention import GTrXL
from rljax.networks.initializers import orthogonal
from rljax.ops.recurrences import linear_recurrence


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
        inputs = of_gates(3, self.size, "input", spread_in_time(0, 1, 0))(x)
        kernel = self.param("recurrent", by_gate(3), (self.size, 3 * self.size))
        bias = self.param("bias", nn.initializers.zeros, (self.size,))
        carry = step_by_step(GRU_CELL, kernel, bias, inputs, carry, done)
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
        inputs = of_gates(4, self.size, "input", spread_in_time(-1, 1, 0, 0))(x)
        kernel = self.param("recurrent", by_gate(4), (self.size, 4 * self.size))
        carry = step_by_step(LSTM_CELL, kernel, (), inputs, carry, done)
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
        gate, new = jnp.split(of_gates(2, self.size, "input", spread_in_time(-1, 0))(x), 2, axis=-1)
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

MEMORIES = {"gru": GRU, "lstm": LSTM, "min_gru": MinGRU, "gtrxl": GTrXL}
"""The memories by the name of a network that has them."""


def spread_in_time(*signs: int) -> Callable[..., jax.Array]:
    """Biases of gates of an input: at first each number of a carry fades at a rate of its own.

    Gates that all begin at one half forget in a few steps, and no gradient reaches what was before.

    Args:
        *signs: of each gate, 1 if it keeps what is carried, -1 if it lets in what is new, else 0.

    Source: Tallec and Ollivier 2018, section 2.2 (chrono initialization),
    https://arxiv.org/abs/1804.11188; here times are spread evenly on a scale of logarithms.
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        size = shape[0] // len(signs)
        log_time = jax.random.uniform(key, (size,), dtype, maxval=math.log(LONGEST_TIME))
        return jnp.concatenate([sign * log_time for sign in signs])

    return init


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


class Cell(NamedTuple):
    """What a memory does with each of its H units, and the derivative of that.

    The state is the first H numbers of a carry; `seen` comes of the features, and `remembered` is
    the product of the last H numbers of the carry. No unit reads numbers of another one.
    """

    step: Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]
    """(bias, state [..., H], seen [..., G x H], remembered [..., G x H]) to the next carry."""
    slopes: Callable[[Any, jax.Array, jax.Array, jax.Array], Any]
    """From the same to the derivatives that `back` multiplies by, arrays [..., H]."""
    back: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array, jax.Array, Any]]
    """(slopes, gradient of the next carry) to those of state, seen, remembered and bias; that of
    the bias is [..., H] still."""


def _gru_gates(bias: jax.Array, seen: jax.Array, remembered: jax.Array):
    gates = 2 * len(bias)
    # One sigmoid of both gates: XLA's CPU backend is slow at one that is part of a larger loop.
    both = nn.sigmoid(seen[..., :gates] + remembered[..., :gates])
    reset, keep = jnp.split(both, 2, axis=-1)
    added = remembered[..., gates:] + bias
    return reset, keep, added, nn.tanh(seen[..., gates:] + reset * added)


def _gru_step(bias: jax.Array, state: jax.Array, seen: jax.Array, remembered: jax.Array):
    _, keep, _, new = _gru_gates(bias, seen, remembered)
    return (1.0 - keep) * new + keep * state


def _gru_slopes(bias: jax.Array, state: jax.Array, seen: jax.Array, remembered: jax.Array):
    reset, keep, added, new = _gru_gates(bias, seen, remembered)
    of_new = (1.0 - keep) * (1.0 - new * new)
    of_reset = of_new * added * reset * (1.0 - reset)
    return of_reset, (state - new) * keep * (1.0 - keep), of_new, reset, keep


def _gru_back(slopes: tuple, gradient: jax.Array):
    of_reset, of_keep, of_new, reset, keep = slopes
    gates, new = [of_reset * gradient, of_keep * gradient], of_new * gradient
    added = new * reset
    of_seen, of_remembered = (jnp.concatenate([*gates, last], axis=-1) for last in (new, added))
    return keep * gradient, of_seen, of_remembered, added


def _lstm_gates(state: jax.Array, inputs: jax.Array):
    # One sigmoid of all, as above.
    write, forget, _, give = jnp.split(nn.sigmoid(inputs), 4, axis=-1)
    new = nn.tanh(jnp.split(inputs, 4, axis=-1)[2])
    return write, forget, new, give, forget * state + write * new


def _lstm_step(bias: tuple, state: jax.Array, seen: jax.Array, remembered: jax.Array):
    *_, give, cell = _lstm_gates(state, seen + remembered)
    return jnp.concatenate([cell, give * nn.tanh(cell)], axis=-1)


def _lstm_slopes(bias: tuple, state: jax.Array, seen: jax.Array, remembered: jax.Array):
    write, forget, new, give, cell = _lstm_gates(state, seen + remembered)
    shown = nn.tanh(cell)
    return (
        new * write * (1.0 - write),
        state * forget * (1.0 - forget),
        write * (1.0 - new * new),
        shown * give * (1.0 - give),
        give * (1.0 - shown * shown),
        forget,
    )


def _lstm_back(slopes: tuple, gradient: jax.Array):
    *of_gates, of_give, of_shown, forget = slopes
    of_cell, of_given = jnp.split(gradient, 2, axis=-1)
    of_cell += of_shown * of_given
    parts = [*(slope * of_cell for slope in of_gates), of_give * of_given]
    of_inputs = jnp.concatenate(parts, axis=-1)
    return forget * of_cell, of_inputs, of_inputs, ()


GRU_CELL = Cell(_gru_step, _gru_slopes, _gru_back)
LSTM_CELL = Cell(_lstm_step, _lstm_slopes, _lstm_back)


def step_by_step(
    cell: Cell,
    kernel: jax.Array,
    bias: Any,
    seen: jax.Array,
    carry: jax.Array,
    done: jax.Array | None,
) -> jax.Array:
    """The carry after one step of what is seen [B, G x H], or after each of a sequence [L, B, ...].

    Where an episode is done [L, B], the next step begins with zeros.
    """
    if done is None:
        return _step_and_product(cell, kernel, bias, seen, carry)[0]
    return _unrolled(cell, kernel, bias, seen, carry, done)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unrolled(cell: Cell, kernel, bias, seen, carry, done) -> jax.Array:
    """The carry after each step of a sequence, as `step_by_step` gives it.

    Backwards, the loop has one product with the kernel. Slopes and the gradient of the kernel are
    made for all steps at once.
    """
    carries, products = _carries_and_products(cell, kernel, bias, seen, carry, done)
    # The products are needed by a gradient alone. As they are kept here, too, the loop is the same
    # with a gradient and without one, and XLA makes one of two.
    return carries + 0.0 * products[..., :1]


def _step_and_product(cell: Cell, kernel, bias, seen, carry):
    """The next carry, and the product that it was made with."""
    size = len(kernel)
    remembered = product(carry[..., -size:], kernel)
    return cell.step(bias, carry[..., :size], seen, remembered), remembered


def _carries_and_products(cell: Cell, kernel, bias, seen, carry, done):
    """Both of each step of a sequence, [L, B, ...]."""

    def one(carry: jax.Array, seen_and_done: tuple[jax.Array, jax.Array]):
        seen, done = seen_and_done
        after, remembered = _step_and_product(cell, kernel, bias, seen, carry)
        return jnp.where(done[:, None], 0.0, after), (after, remembered)

    return jax.lax.scan(one, carry, (seen, done))[1]


def _forward(cell: Cell, *arguments):
    carries, products = _carries_and_products(cell, *arguments)
    return carries, (*arguments, carries, products)


def _backward(cell: Cell, kept: tuple, gradient: jax.Array):
    kernel, bias, seen, carry, done, carries, remembered = kept
    size = len(kernel)
    before = jnp.concatenate([carry[None], jnp.where(done[:-1, :, None], 0.0, carries[:-1])])
    _, to_kernel = jax.vjp(partial(product, before[..., -size:]), kernel)
    slopes = cell.slopes(bias, before[..., :size], seen, remembered)

    def one(of_before_next: jax.Array, of_step: tuple[Any, jax.Array, jax.Array]):
        slopes, gradient, done = of_step
        of_after = gradient + jnp.where(done[:, None], 0.0, of_before_next)
        of_state, _, of_remembered, _ = cell.back(slopes, of_after)
        of_given = of_remembered @ kernel.T
        if of_after.shape == of_given.shape:  # The state is what is remembered.
            return of_state + of_given, of_after
        return jnp.concatenate([of_state, of_given], axis=-1), of_after

    of_carry, of_after = jax.lax.scan(
        one, jnp.zeros_like(carry), (slopes, gradient, done), reverse=True
    )
    _, of_seen, of_remembered, of_bias = cell.back(slopes, of_after)
    of_bias = jax.tree.map(lambda x: jnp.sum(x, axis=(0, 1)), of_bias)
    return *to_kernel(of_remembered), of_bias, of_seen, of_carry, None


_unrolled.defvjp(_forward, _backward)
