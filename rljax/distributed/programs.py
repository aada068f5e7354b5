"""The programs that act and that learn, and what of a state travels between them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax import _cpu
from rljax.networks import reset_carry
from rljax.replay import packing
from rljax.types import Agent, Carry, Learner, Obs, State

Choose = Callable[[State, Obs, Carry, jax.Array], tuple[jax.Array, dict[str, Any], Carry]]

LARGEST_PACKED = 16_384
"""Items of an array; to copy more takes longer than to pass it by itself."""


class ActingProgram:
    """A policy as a program that the host calls for each of T steps.

    To call a program with many arrays takes longer than a small policy does. So the small arrays
    that the policy reads of a state go in as one, and what it records comes out as one.

    Args:
        agent: whose carries are reset where an episode ended.
        choose: the policy, or the one of the warm-up.
        behaviour: the first that it is given, as all others are.
        length: T.
    """

    def __init__(self, agent: Agent, choose: Choose, behaviour: State, length: int):
        self._agent, self._choose, self._length = agent, _cpu.unrolled(choose), length
        leaves, self._structure = jax.tree.flatten(behaviour)
        self._small = [np.size(x) <= LARGEST_PACKED for x in leaves]
        self._layout = packing.layout(self._split(leaves)[0], leading=0)
        self._hold = jax.jit(self._held_of)
        self._act: Callable | None = None
        self._unpack: Callable | None = None

    def begin(self, behaviour: State, key_data: Any) -> None:
        """Act by these parameters, with a key as its bits uint32 [2], for the next T steps."""
        self._held = self._hold(behaviour, key_data)
        self._t = jnp.int32(0)

    def act(self, obs: Obs, carry: Carry, done: np.ndarray) -> tuple[np.ndarray, Any, Carry]:
        """Actions [N, ...] for observations [N, ...], what is recorded, and the next carry.

        Args:
            obs: NumPy arrays.
            carry: of the step before.
            done: bool [N], whether an episode begins.

        What is recorded is uint32 [N, W]; `recorded` makes arrays of T of them.
        """
        inputs = (self._held, obs, carry, done, self._t)
        if self._act is None:
            options = _cpu.compiler_options(self._acted, *inputs)
            self._act = jax.jit(self._acted, compiler_options=options)
        action, recorded, carry, self._t = self._act(*inputs)
        return _cpu.fetch(action), np.asarray(recorded), carry

    def recorded(self, rows: np.ndarray) -> dict[str, Any]:
        """What was recorded at T steps of N environments, uint32 [T, N, W], as [T, N, ...] each."""
        if self._unpack is None:
            self._unpack = jax.jit(lambda rows: packing.unpack(self._record, rows))
        return jax.device_get(self._unpack(rows))

    def _split(self, leaves: list) -> tuple[list, list]:
        pairs = list(zip(leaves, self._small, strict=True))
        return [x for x, small in pairs if small], [x for x, small in pairs if not small]

    def _held_of(self, behaviour: State, key_data: Any) -> tuple:
        small, large = self._split(jax.tree.leaves(behaviour))
        keys = jax.random.split(jax.random.wrap_key_data(key_data), self._length)
        return packing.pack(self._layout, small), large, jax.random.key_data(keys)

    def _acted(self, held: tuple, obs: Obs, carry: Carry, done: jax.Array, t: jax.Array):
        packed, large, key_data = held
        small, others = iter(packing.unpack(self._layout, packed)), iter(large)
        leaves = [next(small) if is_small else next(others) for is_small in self._small]
        behaviour = jax.tree.unflatten(self._structure, leaves)
        carry = reset_carry(self._agent, carry, done)
        key = jax.random.wrap_key_data(key_data[t])
        action, extras, after = self._choose(behaviour, obs, carry, key)
        extras = {**extras, "carry": carry}
        self._record = packing.layout(extras, leading=1)
        nothing = jnp.zeros((len(done), 0), packing.WORD)
        recorded = packing.pack(self._record, extras) if self._record.leaves else nothing
        return action, recorded, after, t + 1


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
