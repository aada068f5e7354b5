"""Reinforcement learning in which training itself is one JAX program."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Loaded on first use: the command line must answer before JAX could even be imported.
_PUBLIC = {
    "agents": "rljax.agents",
    "envs": "rljax.envs",
    "networks": "rljax.networks",
    "ops": "rljax.ops",
    "updates": "rljax.updates",
    "evaluate": "rljax.evaluation:evaluate",
    "iterate": "rljax.training:iterate",
    "load": "rljax.runs.experiment:load",
    "make": "rljax.envs:make",
    "ppo": "rljax.agents.ppo:ppo",
    "train": "rljax.training:train",
    "vmap": "rljax.transforms:vmap",
}

__all__ = [
    "agents",
    "envs",
    "evaluate",
    "iterate",
    "load",
    "make",
    "networks",
    "ops",
    "ppo",
    "train",
    "updates",
    "vmap",
]

if TYPE_CHECKING:
    from rljax import agents, envs, networks, ops, updates
    from rljax.agents.ppo import ppo
    from rljax.envs import make
    from rljax.evaluation import evaluate
    from rljax.runs.experiment import load
    from rljax.training import iterate, train
    from rljax.transforms import vmap


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
