"""What makes a run unsound: numbers that are not finite, and where they came from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax import collectives
from rljax.errors import NonFiniteError, ReplicasDiffer
from rljax.parallel import processes
from rljax.training.rows import EPISODE_MEANS, LATEST, NEVER
from rljax.types import Agent, State

CAUSES = {
    "nonfinite/obs": "an observation from the environment {} is not finite",
    "nonfinite/reward": "a reward from the environment {} is not finite",
    "nonfinite/intrinsic_reward": "the intrinsic reward in the environment {} is not finite",
    "faults/no_legal_action": "the environment {} has an action mask without a legal action",
}
"""Metric to what is wrong where it is not 0, with a place for the environment's name."""

GRADIENT = "grad_norm"
"""How the name of a gradient's norm ends."""


def cause(metric: str, env: str) -> str:
    """What is wrong where a metric is at fault, in words; `env` is the environment's name."""
    if metric in CAUSES:
        return CAUSES[metric].format(env)
    return f"{'a gradient' if metric.endswith(GRADIENT) else metric} is not finite"


@dataclass(frozen=True)
class Fault:
    """What made a run, or a member of a population, unsound."""

    iteration: int  # the one in which it was found, counted from 1
    env_steps: int  # behind the state at its end
    what: str  # "a gradient is not finite", say, or the same of a metric or a leaf
    leaves: tuple[str, ...]  # of the learner that are not finite

    def __str__(self) -> str:
        in_state = f"; in the state: {', '.join(self.leaves[:3])}" if self.leaves else ""
        return f"{self.what} in iteration {self.iteration} (env steps {self.env_steps}){in_state}"


OnFault = Callable[[dict[int, Fault]], None]


def stop(faults: dict[int, Fault]) -> None:
    """Raise NonFiniteError for the earliest of the faults."""
    raise NonFiniteError(str(min(faults.values(), key=lambda fault: fault.iteration)))


def find_faults(
    agent: Agent, state: State, metrics: dict[str, np.ndarray], done: int
) -> dict[int, Fault]:
    """What went wrong first, and when, for each member whose chunk cannot be trusted.

    Raises ReplicasDiffer when devices disagree about what was learnt.
    """
    # What an environment gave comes first in an iteration, then the gradient, then what follows.
    names = [name for name in metrics if not name.startswith(LATEST)]
    order = sorted(names, key=lambda n: (n not in NEVER, not n.endswith(GRADIENT)))
    rows = len(metrics["charts/episodes"])

    def bad(name: str) -> np.ndarray:
        """Whether a metric is at fault, bool [rows, members]."""
        values = metrics[name]
        if name in EPISODE_MEANS:
            values = np.where(metrics["charts/episodes"] > 0, values, 0.0)
        return (values > 0 if name in NEVER else ~np.isfinite(values)).reshape(rows, -1)

    if (
        collectives.REPLICAS_DIFFER in metrics
        and (differ := bad(collectives.REPLICAS_DIFFER)).any()
    ):
        raise ReplicasDiffer(
            f"in iteration {done + int(differ.any(1).argmax()) + 1} the learner stopped being the "
            "same on every device: an update of your own has to combine what it learns, with "
            "rljax.collectives.pmean or rljax.collectives.psum"
        )
    found = np.stack([bad(name) for name in order])  # [names, rows, members]
    both = (state.learner.update_state, state.worker.update_state)
    learnt = replace(state.learner, update_state=both)
    finite = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.ravel(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            processes.fetch(are_finite(learnt, agent.population_axes))
        )
    }
    nothing = np.ones(found.shape[-1], bool)  # of an agent that learns nothing
    unsound = found.any((0, 1)) | ~np.stack([nothing, *finite.values()]).all(0)

    def fault(member: int) -> Fault:
        leaves = tuple(name for name, is_finite in finite.items() if not is_finite[member])
        when = found[:, :, member].any(0)
        row = int(when.argmax()) if when.any() else rows - 1
        what = order[int(found[:, row, member].argmax())] if when.any() else leaves[0]
        at = done + row + 1
        return Fault(at, agent.env_steps(at), cause(what, agent.env.name), leaves)

    return {member: fault(member) for member in np.flatnonzero(unsound).tolist()}


@partial(jax.jit, static_argnums=1)
def are_finite(tree: Any, population_axes: int) -> Any:
    """Whether each leaf is finite, bool [] or of the shape of the members."""

    def one(x: jax.Array) -> jax.Array:
        inner = tuple(range(population_axes, x.ndim))
        if jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.all(jnp.isfinite(x), axis=inner)
        return jnp.ones(x.shape[:population_axes], bool)

    return jax.tree.map(one, tree)
