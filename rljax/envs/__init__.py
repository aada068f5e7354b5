"""Environments: the registry of names, and `make`."""

from typing import Any

from rljax.errors import check_known

GYMNAX = (
    "CartPole-v1",
    "Pendulum-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Asterix-MinAtar",
    "Breakout-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Catch-bsuite",
    "DeepSea-bsuite",
    "MemoryChain-bsuite",
    "UmbrellaChain-bsuite",
    "DiscountingChain-bsuite",
    "MNISTBandit-bsuite",
    "SimpleBandit-bsuite",
    "FourRooms-misc",
    "MetaMaze-misc",
    "PointRobot-misc",
    "BernoulliBandit-misc",
    "GaussianBandit-misc",
    "Reacher-misc",
    "Swimmer-misc",
    "Pong-misc",
    "FrozenLake-misc",
)
"""Names written down here because importing gymnax to ask takes three seconds."""

GRID_WORLDS = ("CliffWalking", "FrozenLake4x4", "FrozenLake8x8", "GridWorld10x10")
"""The maps of `rljax.envs.grid_world`, written down here because it imports JAX."""

NAMES = GRID_WORLDS + GYMNAX
"""All that `make` knows."""


def check_name(name: str) -> None:
    """Refuse a name that `make` does not know, with the nearest one it does."""
    check_known("env", name, NAMES)


def make(name: str, **params: Any):
    """The environment registered as `name`; `params` override its own parameters.

    >>> import rljax
    >>> rljax.make("CartPole-v1").action_space
    Discrete(n=2, shape=(), dtype=<class 'numpy.int32'>)

    Raises UsageError for a name or parameter nobody knows. An environment of your own needs no
    registration: pass any object with the members of `rljax.types.Environment`.
    """
    check_name(name)
    if name in GRID_WORLDS:
        from rljax.envs import grid_world

        return grid_world.make(name, **params)
    from rljax.envs import gymnax

    return gymnax.make(name, **params)
