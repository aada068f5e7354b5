"""What reads a traced function has to know of JAX's calls."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.interpreters import partial_eval

CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "checkpoint",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
)


def called(eqn: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr that an equation calls, and its constants; None where it is no call."""
    if eqn.primitive.name not in CALLS:
        return None
    inner = eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"]
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def read(function: Any, tree: Any, *others: Any) -> Any:
    """Whether what `function(tree, *others)` gives depends on each leaf of `tree`, as bools."""
    traced = jax.make_jaxpr(function)(tree, *others)
    _, used = partial_eval.dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, used[: len(leaves)])
