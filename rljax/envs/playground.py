"""Tasks of MuJoCo Playground (Zakka et al. 2025, https://arxiv.org/abs/2502.08844)."""

import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rljax.envs.physics import PhysicsEnvironment, PhysicsState
from rljax.errors import UsageError, check_extra, check_known


class PlaygroundEnvironment(PhysicsEnvironment):
    """A task of MuJoCo Playground."""

    def poses(self, states: PhysicsState) -> tuple[Any, dict[str, np.ndarray]]:
        """The model, the positions and velocities of its joints, and what is moved by hand."""
        fields = ("qpos", "qvel", "mocap_pos", "mocap_quat")
        return self.env.mj_model, {name: getattr(states.inner.data, name) for name in fields}


def make(task: str, part: str | None = None, **params: Any) -> PlaygroundEnvironment:
    """The task that MuJoCo Playground calls `task`.

    Args:
        task: such as "CartpoleBalance".
        part: of an observation with named parts, the one to observe, such as "state".
        params: values of the task's own config, such as `episode_length` and `action_repeat`; a
            part of the config is a dictionary. `impl`, the implementation of MuJoCo, is "jax"
            unless it is given: Playground's own default, "warp", is slow without a GPU.

    Raises UsageError for a task or a parameter that Playground does not have, and for a task whose
    robot cannot be downloaded.
    """
    name = f"playground/{task}"
    check_extra(name, "playground", "mujoco_playground")
    from mujoco_playground import registry

    check_known("env", name, [f"playground/{known}" for known in registry.ALL_ENVS])
    config = registry.get_default_config(task)
    if "impl" in config:
        params = {"impl": "jax", **params}
    values = dict(_flat(name, config, params))
    try:
        env = registry.load(task, config=config, config_overrides=values)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        raise UsageError(f"{name} downloads its robot, and that failed: {error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} cannot be made with {', '.join(params)}: {error}") from error
    config = env._config  # Some tasks change what they are given.
    return PlaygroundEnvironment(name, env, config.episode_length, config.action_repeat, part)


def _flat(
    name: str, config: Any, params: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, Any]]:
    """Parameters by their dotted names; UsageError for one that the config does not have."""
    for key, value in params.items():
        check_known(f"{name}: parameter", key, config)
        if isinstance(value, Mapping):
            yield from _flat(name, config[key], value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
