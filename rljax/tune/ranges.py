"""Where a hyperparameter may lie. Does not import JAX."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rljax.errors import UsageError, check_known
from rljax.hparams import check_number

SCALES = ("linear", "log")


@dataclass(frozen=True)
class Range:
    """Any number between two, both included, on a linear or a logarithmic scale."""

    low: float
    high: float
    scale: str = "linear"
    """"linear", or "log" for a number whose order of magnitude is what counts."""
    num: int | None = None
    """Points of a grid, evenly spaced on the scale."""

    def at(self, fraction: Any) -> Any:
        """The values [...] at fractions [...] of the scale, 0 for `low` and 1 for `high`.

        Arrays are NumPy's or JAX's, which may be traced.
        """
        if self.scale == "log":
            return self.clip(self.low * (self.high / self.low) ** fraction)
        return self.clip(self.low + fraction * (self.high - self.low))

    def clip(self, value: Any) -> Any:
        """The nearest values within the range, of an array [...]."""
        return value.clip(self.low, self.high)

    def sample(self, random: np.random.Generator) -> float:
        """One number, uniform on the scale."""
        return float(self.at(np.float64(random.uniform())))

    def points(self) -> tuple[float, ...]:
        """The numbers that a grid takes."""
        assert self.num is not None
        return tuple(self.at(np.linspace(0.0, 1.0, self.num)).tolist())

    def table(self) -> dict[str, Any]:
        """As TOML has it."""
        table: dict[str, Any] = {"low": self.low, "high": self.high, "scale": self.scale}
        return table if self.num is None else {**table, "num": self.num}


def check(given: Range, place: str) -> Range:
    """The range itself; UsageError, in one sentence that begins with `place`, if there is none."""
    check_known(f"{place}: scale", given.scale, SCALES)
    for bound in ("low", "high"):
        value = getattr(given, bound)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise UsageError(f"{place}: {bound} must be a number, not {value!r}")
    if given.low >= given.high:
        raise UsageError(f"{place}: low = {given.low} is not below high = {given.high}")
    if given.scale == "log" and given.low <= 0:
        raise UsageError(f"{place}: a log scale begins above 0, and low is {given.low}")
    if given.num is not None and (type(given.num) is not int or given.num < 2):
        raise UsageError(f"{place}: num must be a whole number of at least 2, not {given.num!r}")
    return given


def checked(bounds: Mapping[str, Range | tuple], hparams: Any) -> dict[str, Range]:
    """Every range as a `Range`; UsageError for what is not a hyperparameter or not a range."""
    known = [f.name for f in fields(hparams)]
    if not bounds:
        raise UsageError(f"bounds are empty: give one for any of {', '.join(known)}")
    found = {}
    for name, given in bounds.items():
        check_known("bounds: hyperparameter", name, known)
        place = f"bounds of {name}"
        if isinstance(given, tuple) and 2 <= len(given) <= 3:
            given = Range(*given)
        if not isinstance(given, Range):
            raise UsageError(f'{place} must be (low, high) or (low, high, "log"), not {given!r}')
        found[name] = check(given, place)
        check_number(hparams, name, (given.low, given.high), place)
    return found
