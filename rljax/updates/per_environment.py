"""The part of an update's state that belongs to the environments, taken out and put back."""

from collections.abc import Sequence
from typing import Any

import jax

from rljax.errors import UsageError
from rljax.types import PerEnvironment, UpdateState


def taken_out(state: UpdateState) -> tuple[UpdateState, list]:
    """A state without what its `PerEnvironment` hold, and that: a list of trees, in order."""
    nodes = jax.tree.leaves(state, is_leaf=_is_per_environment)
    held = [node.value for node in nodes if _is_per_environment(node)]
    return put_back(state, [()] * len(held)), held


def put_back(state: UpdateState, held: Sequence) -> UpdateState:
    """The reverse of `taken_out`."""
    left = iter(held)
    return jax.tree.map(
        lambda node: PerEnvironment(next(left)) if _is_per_environment(node) else node,
        state,
        is_leaf=_is_per_environment,
    )


def check_shared(state: UpdateState, given: str) -> UpdateState:
    """The state of an update that is given `given`, of which nothing belongs to an environment.

    Raises UsageError if something does.
    """
    if taken_out(state)[1]:
        raise UsageError(
            "an update that keeps a state of each environment reads fresh experience, and not "
            f"{given}: put it in front of an agent, as `first`"
        )
    return state


def _is_per_environment(node: Any) -> bool:
    return isinstance(node, PerEnvironment)
