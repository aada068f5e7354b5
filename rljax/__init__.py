"""Reinforcement learning in which training itself is one JAX program."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Loaded on first use: the command line must answer before JAX could even be imported.
_PUBLIC = {
    "actors": "rljax.actors",
    "agents": "rljax.agents",
    "collectives": "rljax.collectives",
    "envs": "rljax.envs",
    "networks": "rljax.networks",
    "ops": "rljax.ops",
    "replay": "rljax.replay",
    "statistics": "rljax.statistics",
    "tune": "rljax.tune",
    "updates": "rljax.updates",
    "Logger": "rljax.experiments.loggers:Logger",
    "a2c": "rljax.agents.a2c:a2c",
    "check_env": "rljax.envs.check:check_env",
    "compiler_options": "rljax._cpu:compiler_options",
    "double_q_learning": "rljax.agents.tabular:double_q_learning",
    "dqn": "rljax.agents.dqn:dqn",
    "evaluate": "rljax.training.evaluation:evaluate",
    "expected_sarsa": "rljax.agents.tabular:expected_sarsa",
    "halving": "rljax.tune.halving:halving",
    "iterate": "rljax.training.loop:iterate",
    "load": "rljax.experiments.experiment:load",
    "make": "rljax.envs:make",
    "pbt": "rljax.tune.pbt:pbt",
    "ppo": "rljax.agents.ppo:ppo",
    "pmap": "rljax.parallel.pmap:pmap",
    "pqn": "rljax.agents.pqn:pqn",
    "q_lambda": "rljax.agents.tabular:q_lambda",
    "q_learning": "rljax.agents.tabular:q_learning",
    "rainbow": "rljax.agents.rainbow:rainbow",
    "reinforce": "rljax.agents.reinforce:reinforce",
    "sarsa": "rljax.agents.tabular:sarsa",
    "train": "rljax.training.loop:train",
    "vmap": "rljax.parallel.vmap:vmap",
}

__all__ = [
    "Logger",
    "a2c",
    "actors",
    "agents",
    "check_env",
    "collectives",
    "compiler_options",
    "double_q_learning",
    "dqn",
    "envs",
    "evaluate",
    "expected_sarsa",
    "halving",
    "iterate",
    "load",
    "make",
    "networks",
    "ops",
    "pbt",
    "pmap",
    "ppo",
    "pqn",
    "q_lambda",
    "q_learning",
    "rainbow",
    "reinforce",
    "replay",
    "sarsa",
    "statistics",
    "train",
    "tune",
    "updates",
    "vmap",
]

if TYPE_CHECKING:
    from rljax import (
        actors,
        agents,
        collectives,
        envs,
        networks,
        ops,
        replay,
        statistics,
        tune,
        updates,
    )
    from rljax._cpu import compiler_options
    from rljax.agents.a2c import a2c
    from rljax.agents.dqn import dqn
    from rljax.agents.ppo import ppo
    from rljax.agents.pqn import pqn
    from rljax.agents.rainbow import rainbow
    from rljax.agents.reinforce import reinforce
    from rljax.agents.tabular import (
        double_q_learning,
        expected_sarsa,
        q_lambda,
        q_learning,
        sarsa,
    )
    from rljax.envs import make
    from rljax.envs.check import check_env
    from rljax.experiments.experiment import load
    from rljax.experiments.loggers import Logger
    from rljax.parallel.pmap import pmap
    from rljax.parallel.vmap import vmap
    from rljax.training.evaluation import evaluate
    from rljax.training.loop import iterate, train
    from rljax.tune.halving import halving
    from rljax.tune.pbt import pbt


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rljax' has no attribute {name!r}")
    module, _, member = _PUBLIC[name].partition(":")
    loaded = importlib.import_module(module)
    value = getattr(loaded, member) if member else loaded
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
