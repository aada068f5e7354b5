"""Networks whose weights, and whose layers' inputs, are rounded to few levels.

A rounded number is a scale times a whole number of `bits` bits, kept as a float32: so training,
evaluation and export read it as they read any other. Gradients pass the rounding as if it were not
there (straight-through), so a network may be trained while it is rounded.

Source: Jacob et al. 2018, sections 2 and 3, https://arxiv.org/abs/1712.05877, here symmetric around
0; the straight-through gradient: Bengio et al. 2013, https://arxiv.org/abs/1308.3432.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from rljax._cpu import tuning
from rljax.errors import UsageError
from rljax.networks.jaxprs import called
from rljax.networks.network import Network, on_inputs
from rljax.networks.normalization import RunningStatistics
from rljax.types import Carry, Key, Obs, Params

PRODUCTS = ("dot_general", "conv_general_dilated")
FEWEST_BITS, MOST_BITS = 2, 16


def levels(bits: int) -> int:
    """The largest whole number of that many bits, such as 127 of 8.

    Raises UsageError for a number of bits that is not from 2 to 16.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not FEWEST_BITS <= bits <= MOST_BITS:
        raise UsageError(
            f"bits must be a whole number from {FEWEST_BITS} to {MOST_BITS}, not {bits!r}"
        )
    return 2 ** (bits - 1) - 1


def rounded(x: jax.Array, largest: jax.Array, bits: int) -> jax.Array:
    """x [...] on the grid whose last level is `largest`, clipped there; straight-through.

    `largest` broadcasts against x; where it is 0, x is 0.
    """
    most = levels(bits)
    largest = jax.lax.stop_gradient(largest)
    scale = largest / most
    clipped = jax.lax.stop_gradient(jnp.clip(x, -largest, largest))
    inside = jnp.where(jnp.abs(x) <= largest, x, clipped)  # No gradient beyond it.
    grid = jnp.round(clipped / jnp.where(scale > 0, scale, 1.0)) * scale
    # In this order the value is on the grid to the last bit.
    return grid + (inside - jax.lax.stop_gradient(inside))


def is_kernel(leaf: Any) -> bool:
    """Whether a leaf of parameters is the weights of a layer: two or more axes of floats."""
    return jnp.ndim(leaf) >= 2 and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def kernels(params: Params) -> Any:
    """A tree of bools like the parameters: True for weights, False for all else.

    Biases, running statistics and numbers such as a temperature are no weights.
    """

    def of(node: Any) -> Any:
        if isinstance(node, RunningStatistics):
            return jax.tree.map(lambda x: False, node)
        return is_kernel(node)

    return jax.tree.map(of, params, is_leaf=lambda node: isinstance(node, RunningStatistics))


def quantized_weights(params: Params, bits: int) -> Params:
    """The parameters with each kernel [..., I, O] rounded, by a scale for each output channel.

    Of kernels of four axes [H, W, I, O] a channel is all weights of one output; of others, such as
    those of an ensemble [C, I, O], each matrix has scales of its own.
    """

    def of(is_weights: bool, x: jax.Array) -> jax.Array:
        if not is_weights:
            return x
        axes = tuple(range(x.ndim - 1)) if x.ndim == 4 else (x.ndim - 2,)
        return rounded(x, jnp.max(jnp.abs(x), axis=axes, keepdims=True), bits)

    return jax.tree.map(of, kernels(params), params)


def quantized(
    inner: Network,
    bits: int = 8,
    activation_bits: int | None = None,
    ranges: jax.Array | None = None,
) -> Network:
    """`inner`, whose weights, and with `activation_bits` the inputs of whose layers, are rounded.

    Its parameters are those of `inner`, so it is put on after training, or trained itself.

    Args:
        inner: any network; of a pair `(init, apply)` of your own, `Network(init, apply)`.
        bits: of each weight; a scale for each output channel.
        activation_bits: of each input of a product with weights; None leaves inputs as they are.
        ranges: for each of the K products the largest input [K], as `activation_ranges` finds. By
            default each batch has its own.

    Raises UsageError for a number of bits that is not from 2 to 16.

    >>> import jax, rljax
    >>> from rljax import networks
    >>> net = networks.actor_critic(rljax.make("CartPole-v1"), hidden=(8,)).net
    >>> params, obs = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (32, 4))
    >>> ranges = networks.activation_ranges(net, params, obs)
    >>> in_int8 = networks.quantized(net, bits=8, activation_bits=8, ranges=ranges)
    >>> (logits, value), _ = in_int8.apply(params, obs, (), None)
    >>> float(abs(logits - net.apply(params, obs, (), None)[0][0]).max()) < 0.001
    True
    """
    levels(bits)
    if activation_bits is None:
        return on_inputs(inner, lambda params, obs: (quantized_weights(params, bits), obs))
    levels(activation_bits)

    def narrow(number: int, x: jax.Array) -> jax.Array:
        return rounded(
            x, jnp.max(jnp.abs(x)) if ranges is None else ranges[number], activation_bits
        )

    narrowed = _with_inputs(inner, narrow)

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        return narrowed(quantized_weights(params, bits), obs, carry, key)

    return inner._replace(apply=apply, unroll=None)


def activation_ranges(
    inner: Network, params: Params, obs: Obs, carry: Carry = (), percentile: float = 100.0
) -> jax.Array:
    """The largest inputs [K] of a network's K products with weights: calibration.

    Args:
        inner: the network.
        params: its parameters.
        obs: observations [B, ...], such as those of a rollout.
        carry: [B, ...] of a recurrent network.
        percentile: of the inputs' absolute values: below 100, the rest is clipped.
    """
    found: list[jax.Array] = []

    def note(number: int, x: jax.Array) -> jax.Array:
        found.append(jnp.percentile(jnp.abs(x), percentile))
        return x

    _with_inputs(inner, note)(params, obs, carry, None)
    return jnp.stack(found)


def in_precision(inner: Network, dtype: Any) -> Network:
    """`inner` computed in `dtype`, such as "bfloat16" or "float16"; parameters stay float32.

    For a network on float features; its outputs and its carry are float32 again.
    """

    def cast(tree: Any, to: Any) -> Any:
        def of(x: Any) -> Any:
            floats = jnp.issubdtype(jnp.result_type(x), jnp.floating)
            return jnp.asarray(x, to) if floats else x

        return jax.tree.map(of, tree)

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        params, obs, carry = cast((params, obs, carry), dtype)
        return cast(inner.apply(params, obs, carry, key), jnp.float32)

    return inner._replace(apply=apply, unroll=None)


Change = Callable[[int, jax.Array], jax.Array]
"""(number of a product, its input) to the input that it is given instead."""


def _with_inputs(inner: Network, change: Change) -> Callable:
    """`inner.apply`, in whose products with weights the inputs are changed."""

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        given, structure = jax.tree.flatten((params, obs, carry))

        def flat(*leaves: jax.Array) -> Any:
            params, obs, carry = jax.tree.unflatten(structure, leaves)
            return inner.apply(params, obs, carry, key)

        with tuning(False):  # whose loops over pieces are not read
            traced, shapes = jax.make_jaxpr(flat, return_shape=True)(*given)
        weights = len(jax.tree.leaves(params))
        moves = [number >= weights for number in range(len(given))]
        outputs = _Evaluation(change).run(traced.jaxpr, traced.consts, given, moves)[0]
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return apply


class _Evaluation:
    """A jaxpr, evaluated with other inputs of its products; counts the products."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.count = 0

    def run(
        self, jaxpr: Any, consts: Sequence[Any], given: Sequence[Any], moves: Sequence[bool]
    ) -> tuple[list[Any], list[bool]]:
        """The outputs, and whether each depends on what `moves`: observations and carries."""
        values = dict(zip(jaxpr.invars, zip(given, moves, strict=True), strict=True))
        values |= {v: (const, False) for v, const in zip(jaxpr.constvars, consts, strict=True)}

        def look(atom: Any) -> tuple[Any, bool]:
            return (atom.val, False) if isinstance(atom, Literal) else values[atom]

        for eqn in jaxpr.eqns:
            inputs, moving = map(list, zip(*map(look, eqn.invars), strict=True))
            if (inner := called(eqn)) is not None:
                outputs, depend = self.run(*inner, inputs, moving)
            else:
                if eqn.primitive.name in PRODUCTS and sum(moving) == 1:
                    at = moving.index(True)
                    inputs[at] = self.change(self.count, inputs[at])
                    self.count += 1
                made = eqn.primitive.bind(*inputs, **eqn.params)
                outputs = made if eqn.primitive.multiple_results else [made]
                depend = [any(moving)] * len(outputs)
            values.update(zip(eqn.outvars, zip(outputs, depend, strict=True), strict=True))
        return tuple(map(list, zip(*map(look, jaxpr.outvars), strict=True)))  # type: ignore[return-value]
