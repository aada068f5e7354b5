"""Hyperparameters: fields of a frozen dataclass, each with the bounds that it must keep.

@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams:
    lr: float = non_negative(3e-4)
    gamma: float = fraction(0.99)
"""

from collections.abc import Iterable
from dataclasses import field, fields
from numbers import Number
from typing import Any, NamedTuple

from rljax.errors import UsageError


class Bounds(NamedTuple):
    """What a hyperparameter can be."""

    low: float = -float("inf")
    high: float = float("inf")
    excludes_low: bool = False


def real(default: float) -> Any:
    """A hyperparameter that can be any number."""
    return _bounded(default, Bounds())


def non_negative(default: float) -> Any:
    """A hyperparameter of at least 0."""
    return _bounded(default, Bounds(0))


def positive(default: float) -> Any:
    """A hyperparameter above 0, such as a divisor."""
    return _bounded(default, Bounds(0, excludes_low=True))


def fraction(default: float) -> Any:
    """A hyperparameter from 0 to 1."""
    return _bounded(default, Bounds(0, 1))


def at_most(default: float, most: float) -> Any:
    """A hyperparameter that can be any number up to `most`."""
    return _bounded(default, Bounds(high=most))


def check_number(hparams: Any, name: str, numbers: Iterable[float], where: str) -> None:
    """Refuse numbers outside the bounds of a field; one without bounds can be any number.

    `hparams` is the dataclass, or one of its instances. `where` begins the sentence: the agent, or
    the file and key.
    """
    metadata = next(f.metadata for f in fields(hparams) if f.name == name)
    low, high, excludes_low = metadata.get("bounds", Bounds())
    for number in numbers:
        if not isinstance(number, Number):
            raise UsageError(f"{where} must be a number, not {number!r}")
        if low <= number <= high and not (excludes_low and number == low):
            continue
        if high < float("inf") and low == -float("inf"):
            raise UsageError(f"{where} must be at most {high:g}, not {number:g}")
        if high < float("inf"):
            raise UsageError(f"{where} must lie from {low:g} to {high:g}, not be {number:g}")
        if low > -float("inf"):
            least = "above" if excludes_low else "at least"
            raise UsageError(f"{where} must be {least} {low:g}, not {number:g}")
        raise UsageError(f"{where} must be a number, not {number:g}")


def _bounded(default: float, bounds: Bounds) -> Any:
    return field(default=default, metadata={"bounds": bounds})
