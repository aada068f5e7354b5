"""Rainbow (Hessel et al. 2018, https://arxiv.org/abs/1710.02298): DQN with all of its parts."""

from dataclasses import dataclass
from functools import partial

import jax

from rljax.agents import dqn as plain


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """DQN's numbers, with Adam's offset from Rainbow's table 1."""

    adam_eps: float = 1.5e-4
    """Adam's denominator offset."""


rainbow = partial(
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
rainbow.__doc__ = (
    "Rainbow; every argument of `rljax.dqn` may be given, the parts it names included."
)
rainbow.Hparams = Hparams  # type: ignore[attr-defined]
