"""JAX's own random numbers, as faster programs for CPUs.

`jax.random` draws from Threefry unless it is told otherwise. For CPUs JAX writes its twenty rounds
as a loop, which XLA runs as a dozen small programs and copies for each call. Here the rounds are
written out. The numbers are the same, to the bit, and keys are JAX's own before, within and after.

Only functions that are wrapped in `unrolled` are changed: they are traced, and in the program each
draw from a Threefry key is replaced. JAX itself is left as it is.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.2,
https://doi.org/10.1145/2063384.2063405.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.extend.core.primitives import (
    random_bits_p,
    random_fold_in_p,
    random_split_p,
    threefry2x32_p,
)
from jax.extend.random import threefry_prng_impl

from rljax._cpu import switch

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
DRAWS = (random_bits_p, random_fold_in_p, random_split_p)
OPAQUE = ("shard_map", "pallas_call")
"""Primitives whose inner programs are left alone: those see other devices or other memory."""


def threefry2x32(
    key0: jax.Array, key1: jax.Array, count0: jax.Array, count1: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Two words uint32 for each key and count, two words each, which broadcast together."""
    key = (key0, key1, key0 ^ key1 ^ jnp.uint32(PARITY))
    x, y = count0 + key[0], count1 + key[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x = x + y
            y = x ^ (y << rotation | y >> 32 - rotation)
        x = x + key[(group + 1) % 3]
        y = y + key[(group + 2) % 3] + jnp.uint32(group + 1)
    return x, y


def unrolled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that draws the same numbers from Threefry keys, faster on a CPU."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not switch.is_on():
            return function(*args, **kwargs)
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        leaves = jax.tree.leaves((args, kwargs))
        # What the program takes from constants alone would be no array of JAX.
        outputs = map(jnp.asarray, core.jaxpr_as_fun(unroll(program))(*leaves))
        return jax.tree.unflatten(jax.tree.structure(shapes), list(outputs))

    return run


def unroll(program: core.ClosedJaxpr) -> core.ClosedJaxpr:
    """The program with each draw from a Threefry key replaced, however deep in it."""
    return _Unrolling().closed(program)


class _Unrolling:
    """One pass over a program. What occurs in it several times is replaced by one and the same."""

    def __init__(self) -> None:
        self._programs: dict[int, tuple[Any, Any]] = {}  # by identity; the first is kept alive
        self._calls: dict[Any, core.JaxprEqn] = {}

    def closed(self, program: core.ClosedJaxpr) -> core.ClosedJaxpr:
        inner = self._inner(program.jaxpr)
        return program if inner is program.jaxpr else program.replace(jaxpr=inner)

    def _inner(self, program: core.Jaxpr) -> core.Jaxpr:
        equations = [self._equation(equation) for equation in program.eqns]
        if all(new is old for new, old in zip(equations, program.eqns, strict=True)):
            return program
        return program.replace(eqns=equations)

    def _equation(self, equation: core.JaxprEqn) -> core.JaxprEqn:
        if equation.primitive is threefry2x32_p:
            return self._called(equation, _threefry2x32)
        if equation.primitive in DRAWS and _is_threefry(equation.invars[0].aval):
            return self._called(equation, partial(_draw, equation))
        chosen = equation.params.get("branches_platforms")  # as `platform_dependent` does
        if chosen or equation.primitive.name in OPAQUE:
            return equation
        params = {name: self._param(value) for name, value in equation.params.items()}
        if all(params[name] is value for name, value in equation.params.items()):
            return equation
        return equation.replace(params=params)

    def _param(self, value: Any) -> Any:
        if isinstance(value, tuple):
            new = tuple(map(self._param, value))
            changed = any(a is not b for a, b in zip(new, value, strict=True))
            return new if changed else value
        if not isinstance(value, core.ClosedJaxpr | core.Jaxpr):
            return value
        if id(value) not in self._programs:
            is_closed = isinstance(value, core.ClosedJaxpr)
            replace: Callable[[Any], Any] = self.closed if is_closed else self._inner
            self._programs[id(value)] = value, replace(value)
        return self._programs[id(value)][1]

    def _called(self, equation: core.JaxprEqn, function: Callable[..., Any]) -> core.JaxprEqn:
        """An equation that calls the function in place of the equation."""
        avals: list[Any] = [atom.aval for atom in equation.invars]
        shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=x.weak_type) for x in avals)
        params = tuple(sorted(equation.params.items()))
        call = (equation.primitive, shapes, params, equation.ctx)
        if call not in self._calls:
            with equation.ctx.manager:  # such as `jax.threefry_partitionable`
                program = jax.make_jaxpr(jax.jit(function))(*shapes)
            (self._calls[call],) = self.closed(program).eqns
        return self._calls[call].replace(
            invars=equation.invars, outvars=equation.outvars, source_info=equation.source_info
        )


def _draw(equation: core.JaxprEqn, keys: jax.Array, *numbers: jax.Array) -> jax.Array:
    """What the equation draws, in terms of `threefry2x32_p`."""
    params, words = equation.params, jax.random.key_data(keys)
    draw: Callable[..., Any]
    if equation.primitive is random_bits_p:
        draw = partial(threefry_prng_impl.random_bits, **params)
    elif equation.primitive is random_split_p:
        draw = partial(threefry_prng_impl.split, **params)
    else:
        draw = threefry_prng_impl.fold_in
        shape = jnp.broadcast_shapes(keys.shape, *(x.shape for x in numbers))
        words = jnp.broadcast_to(words, (*shape, 2))
        numbers = tuple(jnp.broadcast_to(x, shape) for x in numbers)
    for _ in range(words.ndim - 1):
        draw = jax.vmap(draw)
    drawn = draw(words, *numbers)
    if equation.primitive is random_bits_p:
        return drawn
    return jax.random.wrap_key_data(drawn, impl="threefry2x32")


def _threefry2x32(*words: jax.Array) -> tuple[jax.Array, ...]:
    return jax.lax.platform_dependent(
        *words, cpu=_on_cpu, default=lambda *words: tuple(threefry2x32_p.bind(*words))
    )


def _on_cpu(*words: jax.Array) -> tuple[jax.Array, ...]:
    # Or XLA would make each number anew wherever it is used, and x and y apart from each other.
    both = jax.lax.optimization_barrier(jnp.stack(threefry2x32(*words)))
    return both[0], both[1]


def _is_threefry(aval: Any) -> bool:
    return aval.dtype == jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32")).dtype
