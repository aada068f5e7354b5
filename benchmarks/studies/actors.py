"""Measure what actors cost beside the simulators that they step.

    python benchmarks/studies/actors.py share scaling handover

- `share`: environment steps per second of one actor with a 64x64 policy, as a part of what the same
  simulator does when it is stepped by random actions in a plain loop. The learner is left out.
- `scaling`: environment steps per second of a simulator of 5 ms a step, with 1, 2, 4 and 8 actors
  on threads, as a part of that of one actor times the number of actors.
- `handover`: bytes and microseconds from an actor's `return` to the learner, for a batch, on
  threads and through Ray.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

import rljax
from rljax.distributed.actors import Actor, Share
from rljax.distributed.drivers import open_driver
from rljax.distributed.learner import HostTraining
from rljax.distributed.programs import behaviour_of
from rljax.envs.simulators import HostEnvironment, Simulator, Steps
from rljax.types import HostActors

SECONDS_OF_A_STEP = 0.005
REPEATS = 3


def rate(work: Callable[[], int]) -> float:
    """Steps per second: the best of several times."""
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        steps = work()
        rates.append(steps / (time.perf_counter() - began))
    return max(rates)


def share(name: str, envs: int, length: int) -> None:
    """An actor beside the plain loop, in turns."""
    env = rljax.make(name)
    agent = rljax.ppo(env, num_envs=envs, rollout_length=length, num_minibatches=1, network="mlp")
    behaviour = behaviour_of(agent.init(jax.random.key(0)))
    simulator = env.simulator(envs)
    simulator.reset(range(envs))
    actions = np.random.default_rng(0).integers(env.action_space.n, size=(length, envs))
    actor = Actor(agent, env, Share(0, envs, envs), length, [*range(envs)])
    actor.collect(behaviour, np.zeros(2, np.uint32), explore=False)

    def plain() -> int:
        for chosen in actions.astype(np.int32):
            simulator.step(chosen)
        return length * envs

    def acting() -> int:
        actor.collect(behaviour, np.zeros(2, np.uint32), explore=False)
        return length * envs

    parts = []
    for _ in range(REPEATS):
        alone, acted = rate(plain), rate(acting)
        parts.append(acted / alone)
    print(
        f"share {name} x {envs}: {acted:,.0f} of {alone:,.0f} steps/s, "
        f"{statistics.median(parts):.2f}"
    )


class Slow:
    """A simulator whose environments take 5 ms for a step, one after the other."""

    def __init__(self, inner: Simulator):
        self._inner, self.num_envs = inner, inner.num_envs
        self.reset, self.render, self.close = inner.reset, inner.render, inner.close

    def step(self, actions: np.ndarray) -> Steps:
        """Wait, and step."""
        time.sleep(SECONDS_OF_A_STEP * self.num_envs)
        return self._inner.step(actions)


def slow(make: Callable[[int], Simulator], envs: int) -> Simulator:
    """So many slow environments."""
    return Slow(make(envs))


def scaling() -> None:
    """Training with 1 to 8 actors."""
    fast = rljax.make("gymnasium/CartPole-v1")
    assert isinstance(fast, HostEnvironment)
    env = replace(fast, name="slow CartPole", simulator=partial(slow, fast.simulator))
    first = None
    for actors in (1, 2, 4, 8):
        agent = rljax.impala(env, num_envs=8, rollout_length=16)
        training = HostTraining(rljax.distribute(agent, actors=actors))
        state, _ = training.run(agent.init(jax.random.key(0)), 2)
        count = 4 * actors
        began = time.perf_counter()
        state, _ = training.run(state, count)
        steps = count * agent.env_steps_per_iteration / (time.perf_counter() - began)
        training.close()
        first = steps if first is None else first
        print(
            f"scaling {actors} actors: {steps:,.0f} steps/s, {steps / first / actors:.2f} of ideal"
        )


class Sender:
    """An actor that has a batch, and says when it returned it."""

    def __init__(self, batch: Any):
        self.batch = batch

    def collect(self) -> tuple[Any, float]:
        """The batch, and the time."""
        return jax.tree.map(np.copy, self.batch), time.time()

    def close(self) -> None:
        """Nothing to end."""


def handover(name: str, envs: int, length: int) -> None:
    """From `return` to arrays that the learner can read."""
    env = rljax.make(name)
    agent = rljax.ppo(env, num_envs=envs, rollout_length=length, num_minibatches=1)
    behaviour = behaviour_of(agent.init(jax.random.key(0)))
    actor = Actor(agent, env, Share(0, envs, envs), length, [*range(envs)])
    batch = actor.collect(behaviour, np.zeros(2, np.uint32), explore=False).batch
    size = sum(x.nbytes for x in jax.tree.leaves(batch))
    parameters = sum(x.nbytes for x in jax.tree.leaves(behaviour))
    for kind in ("threads", "ray"):
        driver = open_driver(HostActors(1, kind))
        handle = driver.launch(partial(Sender, batch))
        taken, sent = [], []
        for _ in range(30):
            began = time.perf_counter()
            driver.share(behaviour)
            sent.append(time.perf_counter() - began)
            future = driver.submit(handle, "collect")
            driver.wait([future], 60.0)
            _, returned = driver.result(future)
            taken.append(time.time() - returned)
        driver.close()
        print(
            f"handover {name} {length} x {envs}, {kind}: batch of {size:,} bytes in "
            f"{statistics.median(taken) * 1e6:,.0f} us, parameters of {parameters:,} bytes in "
            f"{statistics.median(sent) * 1e6:,.0f} us"
        )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=["share", "scaling", "handover"])
    parts = parser.parse_args().parts
    if "share" in parts:
        share("gymnasium/CartPole-v1", 8, 512)
        share("envpool/CartPole-v1", 64, 512)
        share("envpool/Pong-v5", 8, 256)
    if "scaling" in parts:
        scaling()
    if "handover" in parts:
        handover("gymnasium/CartPole-v1", 8, 128)
        handover("envpool/Pong-v5", 8, 128)


main()
