"""Where hyperparameters may lie, how they are drawn and how they are perturbed."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rljax.errors import UsageError, check_known
from rljax.hparams import check_number
from rljax.types import Hparams, Key

SCALES = ("linear", "log")


class Range(NamedTuple):
    """Where a hyperparameter may lie, bounds included."""

    low: float
    high: float
    scale: str = "linear"
    """"linear", or "log" for a number whose order of magnitude is what counts."""

    def draw(self, key: Key, shape: tuple[int, ...] = ()) -> jax.Array:
        """Numbers uniform on the scale; consumes the key."""
        if self.scale == "linear":
            return jax.random.uniform(key, shape, minval=self.low, maxval=self.high)
        log = jax.random.uniform(key, shape, minval=math.log(self.low), maxval=math.log(self.high))
        return self.clip(jnp.exp(log))

    def perturb(self, value: jax.Array, factor: jax.Array) -> jax.Array:
        """The number times `factor` or, on the scale "linear", moved by log(factor) of the range.

        A factor would never leave 0, and would take a discount of 0.99 out of any sensible range.
        """
        if self.scale == "linear":
            return self.clip(value + jnp.log(factor) * (self.high - self.low))
        return self.clip(value * factor)

    def clip(self, value: jax.Array) -> jax.Array:
        """The nearest number that lies within."""
        return jnp.clip(value, self.low, self.high)


def checked(bounds: Mapping[str, Range | tuple], hparams: Hparams) -> dict[str, Range]:
    """Every range as a `Range`; UsageError for what is not a hyperparameter or not a range."""
    known = [f.name for f in fields(hparams)]
    if not bounds:
        raise UsageError(f"bounds are empty: give one for any of {', '.join(known)}")
    found = {}
    for name, given in bounds.items():
        check_known("bounds: hyperparameter", name, known)
        if not isinstance(given, tuple) or not 2 <= len(given) <= 3:
            raise UsageError(
                f'bounds of {name} must be (low, high) or (low, high, "log"), not {given!r}'
            )
        found[name] = Range(*given)
        low, high, scale = found[name]
        check_known(f"bounds of {name}: scale", scale, SCALES)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"bounds of {name}: low must be below high, and both finite: {given}")
        if scale == "log" and low <= 0:
            raise UsageError(f'bounds of {name}: on the scale "log", low must be above 0: {given}')
        check_number(name, (low, high), f"bounds of {name}")
    return found
