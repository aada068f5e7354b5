"""How long an agent trains, and in what portions."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rljax.errors import UsageError, ceil_div, check_positive


@dataclass(frozen=True)
class Schedule:
    """The counts of a training run. Raises UsageError for counts that do not fit."""

    num_envs: int
    """Environments N stepped side by side."""
    rollout_length: int
    """Steps T of each between updates."""
    total_env_steps: int
    """How long to train, over all environments; rounded up to whole iterations."""
    schedule_env_steps: int | None = None
    """Environment steps in which progress goes from 0 to 1; by default `total_env_steps`."""
    warmup_env_steps: int = 0
    """Steps of the total before the first update, over all environments; in whole rollouts."""
    updates_per_iteration: int = 1
    """Updates after each rollout, for an agent that samples a replay buffer."""

    def __post_init__(self) -> None:
        check_positive(
            num_envs=self.num_envs,
            rollout_length=self.rollout_length,
            total_env_steps=self.total_env_steps,
            schedule_env_steps=self.horizon,
            updates_per_iteration=self.updates_per_iteration,
        )
        if self.warmup_env_steps:
            check_positive(warmup_env_steps=self.warmup_env_steps)
        if self.warmup >= self.total_env_steps:
            raise UsageError(
                f"warm-up takes {self.warmup} environment steps, which leaves none of "
                f"total_env_steps = {self.total_env_steps} to learn in: make warmup_env_steps "
                "smaller"
            )
        if self.warmup >= self.horizon:
            raise UsageError(
                f"schedules end after schedule_env_steps = {self.horizon} environment steps, and "
                f"warm-up takes {self.warmup}, so there is nothing between: make "
                "schedule_env_steps larger"
            )

    @property
    def env_steps_per_iteration(self) -> int:
        """N x T."""
        return self.num_envs * self.rollout_length

    @property
    def horizon(self) -> int:
        """Environment steps at the end of the schedule."""
        given = self.schedule_env_steps
        return self.total_env_steps if given is None else given

    @property
    def warmup_rollouts(self) -> int:
        """Rollouts before the first iteration."""
        return ceil_div(self.warmup_env_steps, self.env_steps_per_iteration)

    @property
    def warmup(self) -> int:
        """Environment steps that those take."""
        return self.warmup_rollouts * self.env_steps_per_iteration

    @property
    def num_iterations(self) -> int:
        """Iterations behind the warm-up."""
        return ceil_div(self.total_env_steps - self.warmup, self.env_steps_per_iteration)

    def progress(self, iteration: jax.Array) -> jax.Array:
        """The part [] of the schedule that is done after so many iterations []; 1 at most."""
        done = self.warmup + iteration.astype(jnp.float32) * self.env_steps_per_iteration
        return jnp.minimum(done / self.horizon, 1.0)
