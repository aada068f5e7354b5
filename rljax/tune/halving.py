"""Successive halving (Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943)."""

import math
import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.errors import UsageError, ceil_div, check_positive
from rljax.parallel.vmap import vmap
from rljax.training.interrupts import Interrupts
from rljax.training.loop import train
from rljax.training.rows import Hook
from rljax.tune.fitness import fitness, selection_key, worst_first
from rljax.types import Agent, Hparams, Key, State


class Stage(NamedTuple):
    """A part of the schedule: how many members train, and until which iteration."""

    num_members: int
    iterations: int


class Rung(NamedTuple):
    """What there is at the end of a stage, in which n members trained."""

    began: int  # how many members there were in the first stage
    env_steps: int  # of each member so far
    members: np.ndarray  # [n] their numbers among those that began, increasing
    fitness: np.ndarray  # [n] mean return of full episodes; NaN for a member that is not finite
    states: State  # [n, ...]

    def best(self, count: int) -> np.ndarray:
        """Where in this rung the best `count` members are, increasing."""
        return np.sort(np.asarray(worst_first(jnp.asarray(self.fitness)))[-count:])


def halving(
    agent: Agent,
    start: Key | Rung,
    hparams: Hparams | None = None,
    *,
    eta: int = 3,
    first_env_steps: int | None = None,
    num_episodes: int = 16,
    deterministic: bool = True,
    hooks: Sequence[Hook] = (),
) -> Iterator[Rung]:
    """Train many members a little, the best of them longer, the best of those longer still.

    At the end of each stage every member is evaluated on full episodes, and one in `eta` goes on
    from where it is, in a smaller population. Members that are not finite go first. All members
    advance side by side, so nobody waits for anybody: the asynchronous form (ASHA, Li et al. 2018,
    https://arxiv.org/abs/1810.05934) would have nothing to add. A bracket of Hyperband (Li et al.
    2016, https://arxiv.org/abs/1603.06560) is one call, with its keys and `first_env_steps`.

    Args:
        agent: one agent, on one device or on several.
        start: keys [P] of the members, or a rung to go on from, with the other arguments as
            they were.
        hparams: their hyperparameters; leaves [P], or scalars for all alike.
        eta: one member in so many goes on, rounded up.
        first_env_steps: environment steps of each member before the first cut, and `eta` times as
            many before the next, rounded up to whole iterations; by default such that a single
            member is left for the last stage.
        num_episodes: full episodes for each member at a cut.
        deterministic: whether these are played with greedy actions, or sampled ones.
        hooks: as for `rljax.train`.

    Yields the `Rung` at the end of every stage; the last stage ends with the run. An interrupt is
    raised after the running chunk.

    Raises UsageError for counts that do not fit, before anything is compiled.
    """
    check_positive(num_episodes=num_episodes)
    began = start.began if isinstance(start, Rung) else len(start)
    stages = schedule(agent, began, eta, first_env_steps)
    return _climb(agent, start, hparams, stages, num_episodes, deterministic, hooks)


def _climb(agent, start, hparams, stages, num_episodes, deterministic, hooks) -> Iterator[Rung]:
    population = vmap(agent)._replace(members_may_fail=True)
    measure = jax.jit(fitness(agent, num_episodes, deterministic))
    rung = start if isinstance(start, Rung) else None
    for stage in stages:
        if rung is None:
            members = np.arange(stage.num_members)
            states = jax.jit(population.init)(start, hparams)
        elif rung.env_steps >= agent.env_steps(stage.iterations):
            continue
        else:
            best = rung.best(stage.num_members)
            members, states = rung.members[best], survivors(rung.states, best)
        until = population._replace(num_iterations=stage.iterations)
        interrupts = Interrupts()
        states, _ = train(until, states, hooks=hooks, interrupts=interrupts)
        if interrupts.received is not None:
            signal.raise_signal(interrupts.received)
        found = np.asarray(measure(states, selection_key(states))[0])
        env_steps = agent.env_steps(stage.iterations)
        rung = Rung(stages[0].num_members, env_steps, members, found, states)
        yield rung


@jax.jit
def survivors(states: State, best: jax.Array) -> State:
    """The states of the members `best` alone."""
    return jax.tree.map(lambda x: x[best], states)


def schedule(
    agent: Agent, num_members: int, eta: int = 3, first_env_steps: int | None = None
) -> list[Stage]:
    """The stages of `halving`, without running them.

    >>> import rljax
    >>> agent = rljax.ppo(rljax.make("CartPole-v1"), num_envs=8, rollout_length=125)
    >>> for stage in schedule(agent, 27):
    ...     print(stage.num_members, "members until", agent.env_steps(stage.iterations))
    27 members until 38000
    9 members until 112000
    3 members until 334000
    1 members until 1000000

    Raises UsageError for counts that do not fit.
    """
    check_positive(num_members=num_members, eta=eta)
    if eta < 2:
        raise UsageError(f"eta must be at least 2, not {eta}: one member in eta goes on")
    if first_env_steps is not None:
        check_positive(first_env_steps=first_env_steps)
    total = agent.env_steps(agent.num_iterations)
    sizes = [num_members]
    while sizes[-1] > 1:
        sizes.append(ceil_div(sizes[-1], eta))
    stages: list[Stage] = []
    size, steps = num_members, first_env_steps or total / eta ** (len(sizes) - 1)
    while size > 1 and steps < total:
        learning = max(0.0, steps - agent.warmup_env_steps)
        iterations = max(1, math.ceil(learning / agent.env_steps_per_iteration))
        stages.append(Stage(size, iterations))
        size, steps = ceil_div(size, eta), steps * eta
    stages.append(Stage(size, agent.num_iterations))
    ends = [stage.iterations for stage in stages]
    if ends != sorted(set(ends)):
        raise UsageError(
            f"{num_members} members, one in {eta} of which goes on, need {len(stages)} stages, "
            f"which is too many for {agent.num_iterations} iterations: begin with fewer members "
            "or with more first_env_steps"
        )
    return stages
