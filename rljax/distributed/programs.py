"""What a learner and a parameter server share: the program that learns, what actors are sent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from rljax import _cpu
from rljax.types import Agent, Learner, State


class LearningProgram:
    """A function `(state, given) -> (state, metrics)`, compiled for the first that it is given.

    The state that is given is used up, and the one that comes back lies where it lay.
    """

    def __init__(self, agent: Agent, function: Callable[[State, Any], Any]):
        self._agent, self._function = agent, function
        self._compiled: Callable | None = None

    def __call__(self, state: State, given: Any) -> tuple[State, Any]:
        """Learn from a batch, or from a contribution."""
        if self._compiled is None:
            shardings = (jax.tree.map(lambda x: x.sharding, state), None)
            program = jax.jit(self._function, donate_argnums=0, out_shardings=shardings)
            lowered = program.lower(state, given)
            device = next(iter(state.iteration.sharding.device_set))
            options = {} if self._agent.placement else _cpu.options_of(lowered, device)
            self._compiled = lowered.compile(options)
        return self._compiled(state, given)


def behaviour_of(state: State) -> State:
    """What a policy reads of a state, as copies on the host: the learner reuses its own memory."""
    unread: Any = None
    learner = Learner(state.learner.params, update_state=unread)
    needed = replace(state, key=unread, learner=learner, worker=unread)
    return jax.tree.map(np.array, needed)
