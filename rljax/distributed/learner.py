"""The learner: iterations of an agent whose experience actors bring."""

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np

from rljax.distributed.actors import Actor, Share
from rljax.distributed.collection import (
    Asynchronous,
    Collected,
    Collection,
    Pipelined,
    Synchronous,
)
from rljax.distributed.crew import Crew
from rljax.distributed.drivers import open_driver
from rljax.distributed.parameter_server import ParameterServer, in_place
from rljax.distributed.programs import LearningProgram, behaviour_of
from rljax.distributed.settings import check_serves
from rljax.envs.simulators import on_host
from rljax.types import Agent, HostActors, State


class HostTraining:
    """What `rljax.train` runs for a simulator of the host, where it runs a compiled chunk else.

    Actors are started by the first call of `run`, and ended by `close`.
    """

    def __init__(self, agent: Agent, warn: Callable[[str], None] = warnings.warn):
        self.agent, self.warn = agent, warn
        self.actors = agent.actors or HostActors()
        if self.actors.parameter_server:
            check_serves(agent)
        self._crew: Crew | None = None
        self._server: ParameterServer | None = None
        self._learn = LearningProgram(agent, agent.learn)
        self._remember = jax.jit(agent.remember, donate_argnums=0) if agent.remember else None
        self._end_episodes = LearningProgram(agent, partial(end_episodes, agent))
        self._acting_key = jax.jit(lambda key: jax.random.key_data(jax.random.split(key, 3)[1]))

    def run(self, state: State, count: int) -> tuple[State, Any]:
        """So many iterations; metrics [count]. The state that is given is used up."""
        if self._crew is None:
            state = self._open(state)
        crew, reported = self._crew, []
        assert crew is not None
        version = int(state.iteration)
        for _ in range(count):
            failures = crew.failures
            state, metrics = self._iteration(state, version)
            version += 1
            metrics["charts/actors"] = float(self.actors.number)
            metrics["charts/actor_failures"] = float(crew.failures - failures)
            reported.append(metrics)
        fetched = jax.device_get(reported)
        return state, {name: np.array([row[name] for row in fetched]) for name in fetched[0]}

    def _iteration(self, state: State, version: int) -> tuple[State, dict[str, Any]]:
        if self._server is not None:
            return self._server.iteration(state)
        state, batch, about = self._collect(self._collection.collect, state, version)
        state, metrics = self._learn(state, batch)
        return state, {**metrics, **about}

    def close(self) -> None:
        """End all actors."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def _open(self, state: State) -> State:
        """Start the actors; the state behind the warm-up, if the run begins with one."""
        number, shape = self.actors.number, state.worker.episode_length.shape
        total = shape[0]
        length = self.agent.env_steps_per_iteration // total
        bits = np.asarray(jax.random.key_data(state.key))
        begun, serves = int(state.iteration), self.actors.parameter_server

        def make(actor: int, life: int) -> Callable[[], Actor]:
            count = total // number
            first = actor * count
            agent, share = self.agent, Share(first, count, total)
            if serves:  # One that contributes needs no actions of other actors' environments.
                agent, share = in_place(agent, first, total), Share(0, count, count)
            assert on_host(agent.env)
            begin = seeds(bits, begun, range(first, first + count), life)
            return partial(Actor, agent, agent.env, share, length, begin)

        driver = open_driver(self.actors, self.warn)
        try:
            self._crew = Crew(driver, make, number, self.actors.timeout, self.warn)
        except BaseException:
            driver.close()
            raise
        if serves:
            self._server = ParameterServer(self.agent, self._crew, number)
        synchronous = Synchronous(self._crew, number)
        self._collection: Collection = synchronous
        if self.agent.may_lag and self.agent.remember:
            self._collection = Pipelined(self._crew, number)
        elif self.agent.may_lag:
            self._collection = Asynchronous(self._crew, number, self.actors.max_lag)
        if begun == 0:
            for _ in range(self.agent.warmup_env_steps // self.agent.env_steps_per_iteration):
                assert self._remember is not None
                state, batch, _ = self._collect(synchronous.exploring, state, 0)
                state = self._remember(state, batch)
        return state

    def _collect(self, collect: Callable[..., Collected], state: State, version: int):
        """The state to go on from, a batch, and what is known about it."""
        assert self._crew is not None
        behaviour = self._crew.driver.share(behaviour_of(state))
        batch, begun, about = collect(behaviour, np.asarray(self._acting_key(state.key)), version)
        if begun.any() and self.agent.end_episodes:
            # Rows that are added now do not go on where the stored ones end.
            state, _ = self._end_episodes(state, begun)
        return state, batch, about


def end_episodes(agent: Agent, state: State, ended: jax.Array) -> tuple[State, dict]:
    """`Agent.end_episodes` as a learning program."""
    assert agent.end_episodes is not None
    return agent.end_episodes(state, ended), {}


def seeds(key_data: np.ndarray, begun: int, envs: Iterable[int], life: int) -> list[int]:
    """A seed for each of the environments, by its number.

    Another run, another iteration to begin at, another environment, another actor in the place of
    one that failed: each has seeds of its own. The number of actors changes none of them.
    """
    entropy = [*key_data.ravel().tolist(), begun]
    return [
        int(np.random.SeedSequence([*entropy, env, life]).generate_state(1)[0] >> 1) for env in envs
    ]
