"""A network is a pair of pure functions, and they have one signature."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rljax.types import Carry, Key, Obs, Params

Features = Any
"""What observations become before a network reads them: float arrays, of a Dict by their names."""


class Network(NamedTuple):
    """A function with parameters: one step, over any leading axes, with a carry that may be ()."""

    init: Callable[[Key], Params]
    apply: Callable[[Params, Obs, Carry, Key | None], tuple[Any, Carry]]
    """(params, obs [..., ...], carry [..., ...], key) to (outputs, carry).

    The outputs of an actor-critic are (policy outputs [..., K], value [...]); those of action
    values are what a `ValueHead` reads. With key None there is no noise.
    """
    initial_carry: Callable[[tuple[int, ...]], Carry] = lambda leading: ()
    """Leading axes to the carry with which an episode begins."""
    encode: Callable[[Obs], Features] = lambda obs: obs
    """Observations to float features."""
    unroll: Callable[[Params, Obs, Carry, jax.Array, Key | None], tuple[Any, Carry]] | None = None
    """(params, obs [L, B, ...], carry [B, ...], done [L, B], key) to the outputs [L, B, ...] of
    sequences and the carry behind each step, [L, B, ...]; None where `apply` is all there is.

    It is what `networks.unroll` does with `apply`, faster."""

    @property
    def recurrent(self) -> bool:
        """Whether anything is carried from step to step."""
        return bool(jax.tree.leaves(jax.eval_shape(lambda: self.initial_carry((1,)))))


Pair = tuple[Callable, Callable]
"""`init(key) -> params` and `apply(params, features, carry, key) -> (outputs, carry)` of a network
of one's own; the first two of a `Network`, on float features."""


def is_given(kind: object) -> TypeGuard[nn.Module | Network | Pair]:
    """Whether a network is given as such, a module or functions, and not named."""
    is_pair = isinstance(kind, tuple) and len(kind) == 2 and all(map(callable, kind))
    return isinstance(kind, nn.Module | Network) or is_pair


def from_linen(
    module: nn.Module, shape: tuple[int, ...] | tuple[tuple[int, ...], ...], carry_size: int = 0
) -> Network:
    """A linen module `(features, carry) -> (outputs, carry)` as a `Network`.

    Args:
        module: the module; it is called with one leading axis. Its noise is the rng stream "noise".
            With a carry it also takes sequences, `(features [L, B, ...], carry [B, ...],
            done [L, B])`, as `Network.unroll` does.
        shape: of one observation's features; several shapes for features that are a tuple.
        carry_size: the size of its recurrent carry [..., carry_size]; 0 for none.
    """

    several = any(isinstance(each, tuple) for each in shape)
    example = tuple(_one(each) for each in shape) if several else _one(shape)
    rank = jax.tree.leaves(example)[0].ndim - 1

    def initial_carry(leading: tuple[int, ...]) -> Carry:
        return jnp.zeros((*leading, carry_size)) if carry_size else ()

    def init(key: Key) -> Params:
        return module.init(key, jax.tree.map(jnp.zeros_like, example), initial_carry((1,)))

    def apply(params: Params, features: jax.Array, carry: Carry, key: Key | None):
        rngs = None if key is None else {"noise": key}
        function = partial(module.apply, params, rngs=rngs)
        return with_one_axis(function, rank, features, carry)

    def unroll(params: Params, features: jax.Array, carry: Carry, done: jax.Array, key: Key | None):
        rngs = None if key is None else {"noise": key}
        return module.apply(params, features, carry, done, rngs=rngs)

    return Network(init, apply, initial_carry, unroll=unroll if carry_size else None)


def _one(shape: Any) -> np.ndarray:
    return np.zeros((1, *shape), np.float32)


def with_one_axis(function: Callable, rank: int, features: Any, *others):
    """`function(features, *others)`, for which leading axes are made one and restored after it.

    XLA's CPU backend multiplies matrices with two at half the speed. Of one observation, features,
    or the first array of them, have `rank` axes.
    """
    first = jax.tree.leaves(features)[0]
    leading = first.shape[: first.ndim - rank]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(leading) :]), (features, *others))
    return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]), function(*flat))


def on_inputs(inner: Network, prepare: Callable[[Params, Obs], tuple[Params, Any]]) -> Network:
    """`inner`, given what `prepare` makes of parameters and observations."""

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        return inner.apply(*prepare(params, obs), carry, key)

    def unroll(params: Params, obs: Obs, carry: Carry, done: jax.Array, key: Key | None):
        assert inner.unroll is not None
        return inner.unroll(*prepare(params, obs), carry, done, key)

    return inner._replace(apply=apply, unroll=unroll if inner.unroll else None)


def viewed(inner: Network, view: Callable[[Features], Any]) -> Network:
    """`inner` on what a view gives of features."""
    return on_inputs(inner, lambda params, features: (params, view(features)))


def encoded(inner: Network, encode: Callable[[Obs], Features]) -> Network:
    """`inner` on encoded observations."""
    return on_inputs(inner, lambda params, obs: (params, encode(obs)))._replace(encode=encode)


def on_part(inner: Network, part: str) -> Network:
    """`inner`, whose parameters are the part of that name of larger ones."""
    return on_inputs(inner, lambda params, obs: (params[part], obs))
