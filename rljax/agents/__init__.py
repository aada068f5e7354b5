"""Agents: the registry of names, and how one is looked up."""

import importlib
from typing import TYPE_CHECKING, Any

from rljax.errors import check_known

if TYPE_CHECKING:
    from rljax.agents.assembly import off_policy, on_policy
    from rljax.agents.schedule import Schedule

__all__ = ["AGENTS", "Schedule", "check_name", "factory", "off_policy", "on_policy"]

AGENTS = {
    "alphazero": "rljax.agents.alphazero:alphazero",
    "a2c": "rljax.agents.a2c:a2c",
    "a3c": "rljax.agents.a3c:a3c",
    "apex": "rljax.agents.apex:apex",
    "appo": "rljax.agents.appo:appo",
    "crossq": "rljax.agents.crossq:crossq",
    "d4pg": "rljax.agents.d4pg:d4pg",
    "ddpg": "rljax.agents.ddpg:ddpg",
    "double_q_learning": "rljax.agents.tabular:double_q_learning",
    "dqn": "rljax.agents.dqn:dqn",
    "drqn": "rljax.agents.drqn:drqn",
    "dyna_q": "rljax.agents.dyna:dyna_q",
    "dyna_q_plus": "rljax.agents.dyna:dyna_q_plus",
    "expected_sarsa": "rljax.agents.tabular:expected_sarsa",
    "impala": "rljax.agents.impala:impala",
    "ippo": "rljax.agents.ippo:ippo",
    "iql": "rljax.agents.iql:iql",
    "maddpg": "rljax.agents.maddpg:maddpg",
    "matd3": "rljax.agents.matd3:matd3",
    "mappo": "rljax.agents.mappo:mappo",
    "mbpo": "rljax.agents.mbpo:mbpo",
    "mcts": "rljax.agents.mcts:mcts",
    "muzero": "rljax.agents.muzero:muzero",
    "ppo": "rljax.agents.ppo:ppo",
    "pqn": "rljax.agents.pqn:pqn",
    "prioritized_sweeping": "rljax.agents.dyna:prioritized_sweeping",
    "q_lambda": "rljax.agents.tabular:q_lambda",
    "q_learning": "rljax.agents.tabular:q_learning",
    "qmix": "rljax.agents.qmix:qmix",
    "r2d2": "rljax.agents.r2d2:r2d2",
    "rainbow": "rljax.agents.rainbow:rainbow",
    "reinforce": "rljax.agents.reinforce:reinforce",
    "sac": "rljax.agents.sac:sac",
    "sarsa": "rljax.agents.tabular:sarsa",
    "td3": "rljax.agents.td3:td3",
    "tqc": "rljax.agents.tqc:tqc",
    "vdn": "rljax.agents.vdn:vdn",
}
"""Name to factory. A factory takes `(env, *, total_env_steps, hparams, **structure)` and has its
hyperparameters' dataclass as `factory.Hparams`."""


def check_name(name: str) -> None:
    """Refuse a name that is not an agent's, with the nearest one that is."""
    check_known("agent", name, AGENTS)


def factory(name: str) -> Any:
    """The factory registered as `name`; importing it imports JAX."""
    check_name(name)
    module, member = AGENTS[name].split(":")
    return getattr(importlib.import_module(module), member)


def __getattr__(name: str) -> Any:
    """What agents are built with; loaded on first use, because it imports JAX."""
    modules = {"Schedule": "schedule", "on_policy": "assembly", "off_policy": "assembly"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{modules[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
