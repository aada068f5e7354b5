"""The replay buffer of agents that learn from samples, by the arguments that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents.schedule import Schedule
from rljax.errors import check_at_most, check_count, check_positive
from rljax.hparams import fraction
from rljax.ops import linear_schedule
from rljax.replay import Replay, prioritized, uniform
from rljax.types import Environment, Update
from rljax.updates import hindsight


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReplayHparams:
    """The hyperparameters of samples; each is read where it is asked for."""

    priority_exponent: float = fraction(0.5)
    """How much priorities count, from 0 (not at all) to 1."""
    importance_start: float = fraction(0.4)
    """How much importance weights correct for priorities at the start of the schedule; fully at its
    end."""
    hindsight_fraction: float = fraction(0.8)
    """The part of the samples whose goal is one that was reached later."""


def relabelled(env: Environment, steps_ahead: int) -> Callable[[Any], Update | None]:
    """From hyperparameters to the update that gives samples other goals; None for 0 steps ahead.

    Raises UsageError for an environment without goals.
    """
    check_count(hindsight=steps_ahead)
    if steps_ahead:
        hindsight(env)
    return lambda hp: hindsight(env, hp.hindsight_fraction) if steps_ahead else None


def replay_of(
    schedule: Schedule,
    buffer_size: int,
    batch_size: int,
    n_step: int,
    by_priority: bool,
    steps_ahead: int = 0,
) -> Callable[[Any, jax.Array], Replay]:
    """From hyperparameters and progress [] to a replay buffer of windows of `n_step` steps.

    Windows are `steps_ahead` long where that is more. By priority it reads the hyperparameters
    priority_exponent and importance_start.

    Raises UsageError for counts that do not fit.
    """
    check_positive(buffer_size=buffer_size, n_step=n_step)
    warmup = schedule.warmup_env_steps or 0
    check_at_most("warmup_env_steps", warmup, "buffer_size", buffer_size)
    rows = schedule.rollout_length * schedule.warmup_rollouts
    check_at_most("n_step", n_step, "the warm-up of each environment", rows)
    check_at_most("hindsight", steps_ahead, "the warm-up of each environment", rows)
    window = max(n_step, steps_ahead)

    def replay(hp: Any, progress: jax.Array) -> Replay:
        if not by_priority:
            return uniform(buffer_size, batch_size, window)
        beta = linear_schedule(hp.importance_start, 1.0, progress, 1.0)
        return prioritized(buffer_size, batch_size, window, alpha=hp.priority_exponent, beta=beta)

    return replay
