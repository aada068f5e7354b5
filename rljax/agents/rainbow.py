"""Rainbow (Hessel et al. 2018, https://arxiv.org/abs/1710.02298): DQN with all of its parts."""

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from rljax.agents import dqn as plain
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """DQN's numbers, with Adam's offset from Rainbow's table 1."""

    adam_eps: float = 1.5e-4
    """Adam's denominator offset."""


_complete = partial(
    plain.dqn,
    double=True,
    dueling=True,
    n_step=3,
    prioritized=True,
    noisy=True,
    head="c51",
    hparams=Hparams(),
    agent="rainbow",
)


def rainbow(env: Environment, **arguments: Any) -> Agent:
    """DQN with all of its parts, any of which may be taken away again."""
    return _complete(env, **arguments)


# The arguments are those of DQN, and so are the words on them.
rainbow.__signature__ = inspect.signature(_complete)  # type: ignore[attr-defined]
rainbow.__doc__ = f"{rainbow.__doc__}\n{(plain.dqn.__doc__ or '').partition(chr(10))[2]}"
rainbow.Hparams = Hparams  # type: ignore[attr-defined]
