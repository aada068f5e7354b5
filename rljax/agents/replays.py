"""The replay buffer of agents that learn from samples, by the arguments that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents.schedule import Schedule
from rljax.errors import UsageError, check_at_most, check_count, check_divides, check_positive
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
    if steps_ahead > 0:
        hindsight(env)
    return lambda hp: hindsight(env, hp.hindsight_fraction) if steps_ahead else None


@dataclass(frozen=True)
class Windows:
    """Consecutive steps that are sampled together. Raises UsageError for counts that do not fit."""

    n_step: int = 1
    """Rewards of each target."""
    sequence_length: int = 1
    """Steps L that are learnt from."""
    burn_in: int = 0
    """Steps in front of them, for the carry of a network with memory."""
    overlap: int = 0
    """Of the L steps, those that the next window learns from as well."""
    hindsight: int = 0
    """How many steps ahead the new goal of a window may be reached; 0 for no new goal."""
    unroll_steps: int = 0
    """Steps behind the first one that a model imagines; each of them has a target, too."""
    n_step_name: str = "n_step"
    """The argument of the agent that `n_step` is."""

    def __post_init__(self) -> None:
        check_positive(n_step=self.n_step, sequence_length=self.sequence_length)
        check_count(burn_in=self.burn_in, overlap=self.overlap, hindsight=self.hindsight)
        check_count(unroll_steps=self.unroll_steps)
        if self.hindsight and self.sequence_length > 1:
            raise UsageError(
                f"hindsight = {self.hindsight} gives another goal to single steps, not to those of "
                f"sequence_length = {self.sequence_length}: set hindsight to 0, or use an agent "
                "without memory"
            )
        if self.overlap >= self.sequence_length:
            raise UsageError(
                f"overlap = {self.overlap} leaves nothing new to the next window of "
                f"sequence_length = {self.sequence_length}: make overlap at most "
                f"{self.sequence_length - 1}, or sequence_length at least {self.overlap + 1}"
            )

    @property
    def stride(self) -> int:
        """Steps from the beginning of a window to that of the next."""
        return self.sequence_length - self.overlap

    @property
    def length(self) -> int:
        """Steps of a window, with those whose rewards the last targets sum."""
        learnt = self.burn_in + self.sequence_length + self.unroll_steps
        return max(learnt + self.n_step - 1, self.hindsight)

    @property
    def counted(self) -> str:
        """What `length` comes from."""
        if self.length == self.hindsight > self.n_step:
            return "hindsight"
        if self.unroll_steps:
            return "unroll_steps + n_step"
        if self.length == self.n_step:
            return self.n_step_name
        return "burn_in + sequence_length + n_step - 1"


def replay_of(
    schedule: Schedule, buffer_size: int, batch_size: int, windows: Windows, by_priority: bool
) -> Callable[..., Replay]:
    """From hyperparameters and progress [] to a replay buffer of windows.

    It also takes the names of extras to store, of the first steps of windows or of all. By
    priority it reads the hyperparameters priority_exponent, importance_start and, for windows
    that learn from several steps, priority_mix.

    Raises UsageError for counts that do not fit.
    """
    check_positive(buffer_size=buffer_size)
    warmup = schedule.warmup_env_steps or 0
    check_at_most("warmup_env_steps", warmup, "buffer_size", buffer_size)
    rows = schedule.rollout_length * schedule.warmup_rollouts
    if windows.length > rows:
        raise UsageError(
            f"{windows.counted} = {windows.length} is more than the {rows} steps of each "
            f"environment in the warm-up: make {windows.counted} at most {rows}, or "
            f"warmup_env_steps at least {windows.length * schedule.num_envs}"
        )
    if windows.stride > 1:
        by = "sequence_length - overlap"
        check_divides("rollout_length", schedule.rollout_length, by, windows.stride)

    def replay(
        hp: Any,
        progress: jax.Array,
        first_extras: tuple[str, ...] = (),
        extras: tuple[str, ...] = (),
    ) -> Replay:
        sizes = (buffer_size, batch_size, windows.length)
        cut: dict[str, Any] = {
            "stride": windows.stride,
            "first_extras": first_extras,
            "extras": extras,
        }
        if not by_priority:
            return uniform(*sizes, **cut)
        beta = linear_schedule(hp.importance_start, 1.0, progress, 1.0)
        cut["learnt"] = (windows.burn_in, windows.sequence_length)
        if windows.sequence_length > 1:
            cut["eta"] = hp.priority_mix
        return prioritized(*sizes, alpha=hp.priority_exponent, beta=beta, **cut)

    return replay
