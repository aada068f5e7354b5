"""What a policy takes and gives, as a list of arrays: the interface that all formats share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from rljax.errors import UsageError
from rljax.types import Agent, MaskedObs, State


class Argument(NamedTuple):
    """An array that goes in or comes out."""

    name: str
    shape: tuple[int, ...]  # of one observation, without the axis B in front
    dtype: Any

    def describe(self, *leading: str) -> dict[str, Any]:
        """The same as JSON has it, with the names of the axes in front."""
        shape = [*leading, *self.shape]
        return {"name": self.name, "shape": shape, "dtype": np.dtype(self.dtype).name}


class Interface(NamedTuple):
    """A greedy policy as a function of arrays, with its parameters inside."""

    function: Callable[..., tuple[jax.Array, ...]]
    """Arrays [B, ...], in the order of `inputs`, to arrays [B, ...] in that of `outputs`."""
    inputs: tuple[Argument, ...]
    """obs (of a Dict one for each part, by the names of the parts), then mask, then carry."""
    outputs: tuple[Argument, ...]
    """action, then next_carry."""
    initial_carry: Any  # with which an episode begins, leaves [...]

    @property
    def observed(self) -> tuple[Argument, ...]:
        """The inputs without the carry."""
        return self.inputs[: len(self.inputs) - len(jax.tree.leaves(self.initial_carry))]

    def arguments(self, batch: Any) -> list[jax.ShapeDtypeStruct]:
        """The shapes of the inputs, for a batch of a size that may be symbolic."""
        return [jax.ShapeDtypeStruct((batch, *each.shape), each.dtype) for each in self.inputs]

    def traced(self, batch: Any) -> Any:
        """The jaxpr of the function, for such a batch."""
        return jax.make_jaxpr(self.function)(*self.arguments(batch))


def interface(agent: Agent, state: State) -> Interface:
    """The interface of an agent's greedy actions, or its policy's modes.

    Raises UsageError for a population, or an agent that is spread over devices.
    """
    if agent.population_axes:
        raise UsageError(
            "a population cannot be exported or served as one policy: give the agent of one "
            "member, and its state (jax.tree.map(lambda x: x[0], state))"
        )
    if agent.placement is not None:
        raise UsageError(
            "an agent that is spread over devices cannot be exported or served: give the plain "
            "agent and its state, such as those of rljax.load"
        )
    obs = state.worker.obs
    carry = agent.initial_carry((1,))
    structure = jax.tree.structure((obs, carry))
    acting = replace(state, worker=None)  # type: ignore[arg-type]  # A replay would stay in memory.

    def function(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        obs, carry = jax.tree.unflatten(structure, arrays)
        action, carry = agent.act(acting, obs, carry, None)
        return action, *jax.tree.leaves(carry)

    seen = obs.obs if isinstance(obs, MaskedObs) else obs
    inputs = _arguments("obs", seen)
    if isinstance(obs, MaskedObs):
        inputs += _arguments("mask", obs.legal)
    carries = _arguments("carry", carry)
    inputs += carries
    alone = [jax.ShapeDtypeStruct((1, *each.shape), each.dtype) for each in inputs]
    action = jax.eval_shape(function, *alone)[0]
    outputs = [
        *_arguments("action", action),
        *(each._replace(name=f"next_{each.name}") for each in carries),
    ]
    return Interface(function, tuple(inputs), tuple(outputs), jax.tree.map(lambda x: x[0], carry))


def _arguments(name: str, tree: Any) -> list[Argument]:
    """One for each leaf [N, ...]: by this name, or where there are several, by `name.path`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [
        Argument(
            name
            if len(leaves) == 1
            else f"{name}.{jax.tree_util.keystr(path, simple=True, separator='.')}",
            tuple(x.shape[1:]),
            x.dtype,
        )
        for path, x in leaves
    ]
