"""The parameter server: applies what actors contribute, in the order in which it comes."""

from collections import deque
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from rljax import collectives
from rljax.distributed.actors import Contribution
from rljax.distributed.collection import fold, work_metrics
from rljax.distributed.crew import Answer, Crew
from rljax.distributed.programs import LearningProgram, behaviour_of
from rljax.types import Agent, Carry, Key, Obs, State


def in_place(agent: Agent, first: int, total: int) -> Agent:
    """The agent, for an actor that evaluates the policy on its own environments only.

    Its policy knows that they are those from number `first` on out of `total`. So where each
    environment has an epsilon of its own, each actor has other ones.
    """

    def policy(state: State, obs: Obs, carry: Carry, key: Key):
        with collectives.part(first, total):
            return agent.policy(state, obs, carry, key)

    return agent._replace(policy=policy)


class ParameterServer:
    """Iterations of an agent whose actors compute contributions: algorithm S3 of A3C.

    An actor takes T steps in each of its environments, and computes a contribution with the
    parameters that it acted with. The server applies it to the newest parameters. Then the actor
    goes on with those. The state of the optimizer is the server's, so all actors share it.

    Source: Mnih et al. 2016, sections 4 and 4.1, https://arxiv.org/abs/1602.01783.
    """

    def __init__(self, agent: Agent, crew: Crew, number: int):
        assert agent.absorb is not None
        self._crew, self._number = crew, number
        self._absorb = LearningProgram(agent, agent.absorb)
        # The second and third key of a state, as in `Agent.step`.
        self._keys = jax.jit(lambda key: jax.random.key_data(jax.random.split(key, 3)[1:]))
        self._idle = list(range(number))
        self._ready: deque[Answer] = deque()
        self._applied = 0
        self._fetched: dict[int, int] = {}

    def iteration(self, state: State) -> tuple[State, dict[str, Any]]:
        """As many contributions as there are actors, of whichever are first; one step for each."""
        taken: list[Contribution] = []
        lags, told = [], []
        while len(taken) < self._number:
            self._send_idle(state)
            if not self._ready:
                self._ready.extend(self._crew.next())
            actor, contribution, _ = self._ready.popleft()
            state, metrics = self._absorb(state, contribution.value)
            lags.append(self._applied - self._fetched[actor])
            told.append({**contribution.metrics, **metrics})
            taken.append(contribution)
            self._applied += 1
            self._idle.append(actor)
        told = jax.device_get(told)
        means = {name: np.mean([one[name] for one in told]) for name in told[0]}
        about = work_metrics(taken, lags, waiting=len(self._ready))
        return replace(state, iteration=state.iteration + 1), {**means, **about}

    def _send_idle(self, state: State) -> None:
        """Let actors that have nothing to do go on with these parameters."""
        if not self._idle:
            return
        behaviour = self._crew.driver.share(behaviour_of(state))
        keys = np.asarray(self._keys(state.key))
        for actor in self._idle:
            # The keys of `Agent.learn` where there is one actor; several may begin with one state.
            own = [fold(key, actor) if actor else key for key in keys]
            self._crew.submit(actor, behaviour, *own, method="contribute")
            self._fetched[actor] = self._applied
        self._idle.clear()
