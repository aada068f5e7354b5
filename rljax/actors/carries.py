"""Actors whose carry has two parts: that of the actor inside, and what they add."""

from collections.abc import Callable
from typing import Any

from rljax.types import Carry, Obs, Params

Choice = Callable[[Params, Obs, Carry], tuple[Any, Carry]]
"""What `Actor.mode` gives, or `Actor.distribution`."""


def with_carry_beside(choice: Choice | None) -> Any:
    """`choice` of an actor whose carry is the first of two parts; the other one stays."""
    if choice is None:
        return None

    def chosen(params: Params, obs: Obs, carry: tuple[Carry, Any]):
        inner, beside = carry
        found, inner = choice(params, obs, inner)
        return found, (inner, beside)

    return chosen
