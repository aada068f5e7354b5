"""A scan for loops of many tiny steps, which cost more in setting out than in work.

Random numbers are most of the cost of a cheap environment, and a generator that is asked for a few
at a time spends its time on setting out. So what a step works out from its keys alone is worked out
for all steps at once, before the first: the noise of an action, the start of an episode in case
this one ends. The step need not know, and the numbers are the same.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.extend import core

from rljax._cpu import switch
from rljax._cpu.threefry import unroll

Loop = TypeVar("Loop")
Step = Callable[[Loop, Any], tuple[Loop, Any]]
MOST_DRAWN_AT_ONCE = 131_072  # steps of an environment; more leave the cache before they are used
LARGEST_DRAWN = 16  # numbers of an environment; larger ones are cheaper made when they are needed
MOST_PACKED = 8  # environments; the arrays of more take longer to copy than to be looked after
LARGEST_PACKED = 16  # numbers of an environment, for the same reason


def scan(step: Step, begin: Loop, keys: Any) -> tuple[Loop, Any]:
    """`jax.lax.scan(step, begin, keys)`, whose keys are used up ahead of it.

    With few environments, one array of each type goes round the loop instead of one for each leaf,
    and one is put out.

    Args:
        step: `(loop, keys of one step) -> (loop, output)`.
        begin: what the first step is given; every leaf [N, ...].
        keys: a pytree of keys [T, ...].
    """
    length = jax.tree.leaves(keys)[0].shape[0]
    width = jax.tree.leaves(begin)[0].shape[0]
    if not switch.is_on() or length == 1 or length * width > MOST_DRAWN_AT_ONCE:
        return jax.lax.scan(step, begin, keys)
    one = jax.eval_shape(lambda: jax.tree.map(lambda k: k[0], keys))
    draw, rest = _split(step, begin, one, width)
    drawn = jax.vmap(draw)(keys)  # nothing, for a step that reads no key
    output = jax.eval_shape(
        lambda loop, drawn: rest(loop, drawn)[1], begin, jax.eval_shape(draw, one)
    )
    pack, unpack = _packing(begin, width)
    pack_output, unpack_output = _packing(output, width)

    def packed(arrays: list, drawn: Any) -> tuple[list, list]:
        loop, output = rest(unpack(arrays), drawn)
        return pack(loop), pack_output(output)

    arrays, outputs = jax.lax.scan(packed, pack(begin), drawn, length)
    return unpack(arrays), unpack_output(outputs)


def _packing(tree: Any, width: int) -> tuple[Callable, Callable]:
    """How small leaves become one array [W] for each of their dtypes; and [..., W] leaves again."""
    leaves, structure = jax.tree.flatten(tree)
    sizes = [math.prod(x.shape) for x in leaves]
    groups: dict[Any, list[int]] = {}
    for i, leaf in enumerate(leaves):
        alone = width > MOST_PACKED or sizes[i] > LARGEST_PACKED * width or _is_key(leaf)
        groups.setdefault(i if alone else leaf.dtype, []).append(i)

    def pack(tree: Any) -> list:
        leaves = jax.tree.leaves(tree)
        return [
            leaves[group[0]]
            if len(group) == 1
            else jnp.concatenate([leaves[i].ravel() for i in group])
            for group in groups.values()
        ]

    def unpack(arrays: list) -> Any:
        parts: dict[int, jax.Array] = {}
        for group, array in zip(groups.values(), arrays, strict=True):
            if len(group) == 1:
                parts[group[0]] = array
                continue
            ends = list(itertools.accumulate(sizes[i] for i in group))
            for i, part in zip(group, jnp.split(array, ends[:-1], -1), strict=True):
                parts[i] = part.reshape(*array.shape[:-1], *leaves[i].shape)
        return jax.tree.unflatten(structure, [parts[i] for i in range(len(leaves))])

    return pack, unpack


def _split(step: Step, loop: Any, keys: Any, width: int) -> tuple[Callable, Callable]:
    """`step` as `draw(keys) -> drawn` and `rest(loop, drawn) -> (loop, output)`.

    What hangs on keys and constants alone is drawn, unless it is large, as the first picture of an
    episode is. Parameters are no constants: what comes of them, noisy weights say, can be too large
    to make many of.
    """
    closed, shapes = jax.make_jaxpr(step, return_shape=True)(loop, keys)
    closed = unroll(closed)
    program, constants = closed.jaxpr, closed.consts
    size = len(jax.tree.leaves(loop))
    loop_in, keys_in = program.invars[:size], program.invars[size:]
    fixed = {
        variable
        for variable, value in zip(program.constvars, constants, strict=True)
        if not isinstance(value, jax.core.Tracer)
    }
    known, ahead, later = set(keys_in), [], []
    for equation in program.eqns:
        read = set(_variables(equation.invars))
        small = all(math.prod(v.aval.shape) <= LARGEST_DRAWN * width for v in equation.outvars)
        if small and read & known and read <= known | fixed and not equation.effects:
            ahead.append(equation)
            known |= set(equation.outvars)
        else:
            later.append(equation)
    needed = [*(v for equation in later for v in equation.invars), *program.outvars]
    handed = list(dict.fromkeys(v for v in _variables(needed) if v in known))

    def run(equations: list, inputs: list, outputs: list, values: list) -> list:
        part = program.replace(
            constvars=[],
            invars=[*program.constvars, *inputs],
            outvars=outputs,
            eqns=equations,
        )
        return core.jaxpr_as_fun(core.ClosedJaxpr(part, []))(*constants, *values)

    def draw(keys: Any) -> list:
        return run(ahead, keys_in, handed, jax.tree.leaves(keys))

    def rest(loop: Any, drawn: list) -> tuple[Any, Any]:
        values = [*jax.tree.leaves(loop), *drawn]
        outputs = run(later, [*loop_in, *handed], program.outvars, values)
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return draw, rest


def _is_key(leaf: jax.Array) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _variables(atoms: Any) -> list:
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]
