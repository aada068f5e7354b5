"""Reinforcement learning in which training itself is one JAX program."""

import importlib
from typing import TYPE_CHECKING

from rljax.agents import AGENTS

__version__ = "0.1.0"

# Loaded on first use: the command line must answer before JAX could even be imported.
_PUBLIC = {
    **AGENTS,
    "actors": "rljax.actors",
    "agents": "rljax.agents",
    "collectives": "rljax.collectives",
    "envs": "rljax.envs",
    "networks": "rljax.networks",
    "ops": "rljax.ops",
    "replay": "rljax.replay",
    "serving": "rljax.serving",
    "statistics": "rljax.statistics",
    "tune": "rljax.tune",
    "updates": "rljax.updates",
    "Logger": "rljax.experiments.loggers:Logger",
    "check_env": "rljax.envs.check:check_env",
    "compiler_options": "rljax._cpu:compiler_options",
    "distill": "rljax.agents.distillation:distill",
    "distribute": "rljax.distributed:distribute",
    "evaluate": "rljax.training.evaluation:evaluate",
    "export": "rljax.exports.exporting:export",
    "halving": "rljax.tune.halving:halving",
    "iterate": "rljax.training.loop:iterate",
    "load": "rljax.experiments.experiment:load",
    "make": "rljax.envs:make",
    "match": "rljax.training.matches:match",
    "pbt": "rljax.tune.pbt:pbt",
    "pmap": "rljax.parallel.pmap:pmap",
    "restore": "rljax.experiments.checkpoints:restore",
    "save": "rljax.experiments.checkpoints:save",
    "train": "rljax.training.loop:train",
    "vmap": "rljax.parallel.vmap:vmap",
}

__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from rljax import actors as actors
    from rljax import agents as agents
    from rljax import collectives as collectives
    from rljax import envs as envs
    from rljax import networks as networks
    from rljax import ops as ops
    from rljax import replay as replay
    from rljax import serving as serving
    from rljax import statistics as statistics
    from rljax import tune as tune
    from rljax import updates as updates
    from rljax._cpu import compiler_options as compiler_options
    from rljax.agents.a2c import a2c as a2c
    from rljax.agents.a3c import a3c as a3c
    from rljax.agents.alphazero import alphazero as alphazero
    from rljax.agents.apex import apex as apex
    from rljax.agents.appo import appo as appo
    from rljax.agents.crossq import crossq as crossq
    from rljax.agents.d4pg import d4pg as d4pg
    from rljax.agents.ddpg import ddpg as ddpg
    from rljax.agents.distillation import distill as distill
    from rljax.agents.dqn import dqn as dqn
    from rljax.agents.drqn import drqn as drqn
    from rljax.agents.dyna import dyna_q as dyna_q
    from rljax.agents.dyna import dyna_q_plus as dyna_q_plus
    from rljax.agents.dyna import prioritized_sweeping as prioritized_sweeping
    from rljax.agents.impala import impala as impala
    from rljax.agents.ippo import ippo as ippo
    from rljax.agents.iql import iql as iql
    from rljax.agents.maddpg import maddpg as maddpg
    from rljax.agents.mappo import mappo as mappo
    from rljax.agents.matd3 import matd3 as matd3
    from rljax.agents.mbpo import mbpo as mbpo
    from rljax.agents.mcts import mcts as mcts
    from rljax.agents.muzero import muzero as muzero
    from rljax.agents.ppo import ppo as ppo
    from rljax.agents.pqn import pqn as pqn
    from rljax.agents.qmix import qmix as qmix
    from rljax.agents.r2d2 import r2d2 as r2d2
    from rljax.agents.rainbow import rainbow as rainbow
    from rljax.agents.reinforce import reinforce as reinforce
    from rljax.agents.sac import sac as sac
    from rljax.agents.tabular import double_q_learning as double_q_learning
    from rljax.agents.tabular import expected_sarsa as expected_sarsa
    from rljax.agents.tabular import q_lambda as q_lambda
    from rljax.agents.tabular import q_learning as q_learning
    from rljax.agents.tabular import sarsa as sarsa
    from rljax.agents.td3 import td3 as td3
    from rljax.agents.tqc import tqc as tqc
    from rljax.agents.vdn import vdn as vdn
    from rljax.distributed import distribute as distribute
    from rljax.envs import make as make
    from rljax.envs.check import check_env as check_env
    from rljax.experiments.checkpoints import restore as restore
    from rljax.experiments.checkpoints import save as save
    from rljax.experiments.experiment import load as load
    from rljax.experiments.loggers import Logger as Logger
    from rljax.exports.exporting import export as export
    from rljax.parallel.pmap import pmap as pmap
    from rljax.parallel.vmap import vmap as vmap
    from rljax.training.evaluation import evaluate as evaluate
    from rljax.training.loop import iterate as iterate
    from rljax.training.loop import train as train
    from rljax.training.matches import match as match
    from rljax.tune.halving import halving as halving
    from rljax.tune.pbt import pbt as pbt


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
