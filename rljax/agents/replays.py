"""The replay buffer of agents that learn from samples, by the arguments that they share."""

from collections.abc import Callable
from typing import Any

import jax

from rljax.agents.schedule import Schedule
from rljax.errors import check_at_most, check_positive
from rljax.ops import linear_schedule
from rljax.replay import Replay, prioritized, uniform


def replay_of(
    schedule: Schedule, buffer_size: int, batch_size: int, n_step: int, by_priority: bool
) -> Callable[[Any, jax.Array], Replay]:
    """From hyperparameters and progress [] to a replay buffer of windows of `n_step` steps.

    By priority it reads the hyperparameters priority_exponent and importance_start.

    Raises UsageError for counts that do not fit.
    """
    check_positive(buffer_size=buffer_size, n_step=n_step)
    warmup = schedule.warmup_env_steps or 0
    check_at_most("warmup_env_steps", warmup, "buffer_size", buffer_size)
    rows = schedule.rollout_length * schedule.warmup_rollouts
    check_at_most("n_step", n_step, "the warm-up of each environment", rows)

    def replay(hp: Any, progress: jax.Array) -> Replay:
        if not by_priority:
            return uniform(buffer_size, batch_size, n_step)
        beta = linear_schedule(hp.importance_start, 1.0, progress, 1.0)
        return prioritized(buffer_size, batch_size, n_step, alpha=hp.priority_exponent, beta=beta)

    return replay
