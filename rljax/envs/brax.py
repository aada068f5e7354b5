"""Tasks of Brax (Freeman et al. 2021, https://arxiv.org/abs/2106.13281)."""

import warnings
from typing import Any

import numpy as np

from rljax.envs.physics import PhysicsEnvironment, PhysicsState
from rljax.errors import UsageError, check_extra, check_known

BACKENDS = ("generalized", "mjx", "positional", "spring")


class BraxEnvironment(PhysicsEnvironment):
    """A task of Brax."""

    def poses(self, states: PhysicsState) -> tuple[Any, dict[str, np.ndarray]]:
        """The model and the positions and velocities of its joints."""
        if not hasattr(self.env, "sys"):
            raise UsageError(f"{self.name} has no bodies that could be drawn")
        pipeline = states.inner.pipeline_state
        return self.env.sys.mj_model, {"qpos": pipeline.q, "qvel": pipeline.qd}


def make(
    task: str, episode_length: int = 1000, action_repeat: int = 1, **params: Any
) -> BraxEnvironment:
    """The task that Brax calls `task`.

    Args:
        task: such as "ant".
        episode_length: steps of Brax after which an episode is truncated.
        action_repeat: how many of them one step of ours is.
        params: those of the task, such as `backend`: "generalized", "mjx", "positional" or
            "spring".

    Raises UsageError for a task, a backend or a parameter that Brax does not have.
    """
    name = f"brax/{task}"
    check_extra(name, "brax", "brax")
    from brax import envs

    check_known("env", name, [f"brax/{known}" for known in envs._envs])
    if "backend" in params:
        check_known(f"{name}: backend", params["backend"], BACKENDS)
    try:
        with warnings.catch_warnings():
            # That Brax's own physics is no longer developed; docs/physics.md says so.
            warnings.filterwarnings("ignore", message="Brax System", category=UserWarning)
            env = envs.get_environment(task, **params)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise UsageError(f"{name} cannot be made with {', '.join(params)}: {error}") from error
    return BraxEnvironment(name, env, episode_length, action_repeat)
