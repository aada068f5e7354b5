"""Environments: the registry of names, and `make`."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rljax.errors import UsageError, check_known, nearest

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

GRID_WORLDS = (
    "CliffWalking",
    "FrozenLake4x4",
    "FrozenLake8x8",
    "GridWorld10x10",
    "DynaMaze",
    "BlockingMaze",
    "ShortcutMaze",
)
"""The maps of `rljax.envs.grid_world`, written down here because it imports JAX."""

OWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ConnectFour": ("connect_four", "make", {}),
    "ConnectFourGame": ("board_games", "connect_four", {}),
    "TicTacToeGame": ("board_games", "tic_tac_toe", {}),
    "DoorKey5x5": ("door_key", "DoorKey", {"size": 5}),
    "DoorKey6x6": ("door_key", "DoorKey", {"size": 6}),
    "DoorKey8x8": ("door_key", "DoorKey", {"size": 8}),
    "BitFlip": ("goals", "BitFlip", {}),
    "PointReach": ("goals", "PointReach", {}),
    "Climbing": ("matrix_games", "climbing", {}),
    "Penalty": ("matrix_games", "penalty", {}),
    "PrisonersDilemma": ("matrix_games", "prisoners_dilemma", {}),
    "TwoStep": ("matrix_games", "TwoStep", {}),
    "SwitchRiddle": ("switch_riddle", "SwitchRiddle", {}),
    "Foraging8x8-2p-3f": ("foraging", "Foraging", {"size": 8, "players": 2, "food": 3}),
    "Simple-MPE": ("mpe", "Simple", {}),
    "SimpleAdversary-MPE": ("mpe", "SimpleAdversary", {}),
    "SimpleReference-MPE": ("mpe", "SimpleReference", {}),
    "SimpleSpeakerListener-MPE": ("mpe", "speaker_listener", {}),
    "SimpleSpread-MPE": ("mpe", "SimpleSpread", {}),
    "SimpleTag-MPE": ("mpe", "SimpleTag", {}),
    "Seaquest-MinAtar": ("seaquest", "Seaquest", {}),
}
"""Other environments of rljax: name to a module of `rljax.envs`, what makes it, and with what.

Seaquest is here because gymnax's is slow."""

PARTICLES = tuple(name for name in OWN if name.endswith("-MPE"))
"""The multi-agent particle environments."""

NAMES = (*GRID_WORLDS, *dict.fromkeys((*OWN, *GYMNAX)))
"""Those that need no further package."""

SUITES = {
    "gymnasium": "any id that Gymnasium has registered, such as gymnasium/CartPole-v1",
    "envpool": "any id of EnvPool, such as envpool/Pong-v5",
    "atari": "any Atari game by its name, such as atari/Pong",
    "brax": "any task of Brax, such as brax/ant",
    "jaxmarl": "an environment of JaxMARL, such as jaxmarl/MPE_simple_push_v3",
    "jumanji": "a task of several agents of jumanji, such as jumanji/RobotWarehouse-v0",
    "pettingzoo": "any module with a function parallel_env, such as pettingzoo/sisl.pursuit_v4",
    "pgx": "any game of two players in turns of pgx, such as pgx/othello",
    "playground": "any task of MuJoCo Playground, such as playground/CartpoleBalance",
}
"""What may stand before `/` in the name of a suite's environment, and what stands behind it."""


def suite(name: str) -> str | None:
    """The suite, a package that is an extra, which an environment's name begins with; else None."""
    before, _, after = name.partition("/")
    return before if before in SUITES and after else None


def check_name(name: str) -> None:
    """Refuse a name that `make` does not know, with the nearest one it does.

    Whether a suite has what stands behind `/` is known when it is made.
    """
    if suite(name) is None:
        check_known("env", name, [*NAMES, *(f"{known}/..." for known in SUITES)])


def make(
    name: str | Callable[..., Any],
    *,
    observed: Sequence[int] | None = None,
    previous_step: bool = False,
    **params: Any,
):
    """The environment registered as `name`; `params` override its own parameters.

    With `observed`, only the numbers in these places of an observation are seen; with
    `previous_step`, the action and the reward of the step before are seen, too. Both are for
    observations of one axis: see `envs.observing`.

    >>> import rljax
    >>> rljax.make("CartPole-v1").action_space
    Discrete(n=2, shape=(), dtype=<class 'numpy.int32'>)

    A name such as `brax/ant` gives an environment of a suite (see `SUITES`). Those of Brax,
    JaxMARL, jumanji, MuJoCo Playground and pgx are written in JAX. Those of the others, and a
    function, give a `HostEnvironment`: a simulator outside JAX. The function takes no arguments and
    returns a gymnasium.Env, or takes `num_envs` and returns a gymnasium.vector.VectorEnv.

    Raises UsageError for a name or parameter nobody knows. An environment of your own in JAX needs
    no registration: pass any object with the members of `rljax.types.Environment`.
    """
    env = _make(name, params)
    if observed is None and not previous_step:
        return env
    from rljax.envs.observing import viewed

    return viewed(env, observed, previous_step)


def _make(name: str | Callable[..., Any], params: dict[str, Any]) -> Any:
    if callable(name):
        from rljax.envs import gymnasium

        if params:
            raise UsageError(
                f"parameters of a function are its own: write functools.partial(..., "
                f"{', '.join(f'{key}=...' for key in params)})"
            )
        return gymnasium.from_function(name)
    check_name(name)
    if found := suite(name):
        adapter = importlib.import_module(f"rljax.envs.{found}")
        return adapter.make(name.partition("/")[2], **params)
    if name in GRID_WORLDS:
        from rljax.envs import grid_world

        return grid_world.make(name, **params)
    if name in OWN:
        module, member, given = OWN[name]
        factory = getattr(importlib.import_module(f"rljax.envs.{module}"), member)
        check_parameters(name, params, inspect.signature(factory).parameters)
        return factory(**{**given, **params})
    from rljax.envs import gymnax

    return gymnax.make(name, **params)


def check_parameters(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse parameters that an environment does not have, with the nearest one that it has."""
    for key in given:
        if key not in known:
            raise UsageError(f"environment {name} has no parameter {key!r}{nearest(key, known)}")
