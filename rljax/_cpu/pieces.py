"""Work on many rows a few at a time, so that what it makes of them stays in a CPU's cache."""

from collections.abc import Callable

import jax

from rljax._cpu import switch

MOST_NUMBERS = 2**20  # made of the rows of one piece; as measured


def in_pieces(function: Callable[[jax.Array], jax.Array], x: jax.Array, numbers: int) -> jax.Array:
    """`function(x)` of rows [B, ...], each of which is worked on alone.

    On a CPU, large work is a loop over pieces of equal size. A gradient makes the numbers once more
    instead of reading them back from memory.

    Args:
        function: from rows [B, ...] to rows [B, ...].
        x: [B, ...].
        numbers: how many the function makes of a row, and drops again.
    """
    rows = x.shape[0]
    if not switch.is_on() or not isinstance(rows, int) or rows * numbers <= MOST_NUMBERS:
        return function(x)
    piece = max(1, MOST_NUMBERS // numbers)
    while rows % piece:
        piece -= 1

    def looped(x: jax.Array) -> jax.Array:
        split = x.reshape(-1, piece, *x.shape[1:])
        made = jax.lax.map(jax.checkpoint(function), split)
        return made.reshape(rows, *made.shape[2:])

    return jax.lax.platform_dependent(x, cpu=looped, default=function)
