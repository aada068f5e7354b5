"""Environments seen otherwise: what wrappers have in common."""

from dataclasses import dataclass
from typing import Any

OF_ONE: tuple[str, ...] = ("success", "reset_is_costly")
OF_SEVERAL = (
    *OF_ONE,
    "agents",
    "teams",
    "shared_reward",
    "state_space",
    "global_state",
    "action_mask",
)
"""Members that an environment may have besides those of all, and wrappers hand on."""


@dataclass(frozen=True)
class Wrapper:
    """An environment, of which a subclass changes something; states are those of `env`."""

    env: Any

    handed_on = OF_ONE
    """Members that the wrapper has if the environment has them."""

    def __post_init__(self) -> None:
        for member in self.handed_on:
            if hasattr(self.env, member):
                object.__setattr__(self, member, getattr(self.env, member))

    @property
    def name(self) -> str:
        """That of the environment."""
        return self.env.name

    @property
    def observation_space(self) -> Any:
        """That of the environment."""
        return self.env.observation_space

    @property
    def action_space(self) -> Any:
        """That of the environment."""
        return self.env.action_space
