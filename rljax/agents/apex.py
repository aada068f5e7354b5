"""Ape-X DQN (Horgan et al. 2018, https://arxiv.org/abs/1803.00933): actors that fill a replay."""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.actors import Exploration
from rljax.agents import dqn as plain
from rljax.agents.variants import variant_of
from rljax.hparams import fraction, non_negative
from rljax.types import Agent, Environment


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """DQN's hyperparameters, with two of the paper."""

    max_grad_norm: float = non_negative(40.0)
    """Global norm at which gradients are clipped."""
    priority_exponent: float = fraction(0.6)
    """How much priorities count, from 0 (not at all) to 1."""


@variant_of(plain.dqn)
def apex(
    env: Environment,
    *,
    num_envs: int = 16,
    rollout_length: int = 16,
    updates_per_iteration: int = 32,
    double: bool = True,
    dueling: bool = True,
    n_step: int = 3,
    prioritized: bool = True,
    initial_priorities: bool = True,
    exploration: str | Exploration = "fixed_epsilons",
    hparams: Hparams | None = None,
    agent: str = "apex",
    **arguments: Any,
) -> Agent:
    """DQN with a prioritized replay that actors fill, each exploring with an epsilon of its own.

    Actors act (algorithm 1 of the paper): each environment is epsilon-greedy with its own epsilon,
    and each step arrives with the error of its n-step target as its priority. The learner learns
    (algorithm 2) from samples by priority, with double Q-learning and a dueling network.
    """
    return plain.dqn(
        env,
        num_envs=num_envs,
        rollout_length=rollout_length,
        updates_per_iteration=updates_per_iteration,
        double=double,
        dueling=dueling,
        n_step=n_step,
        prioritized=prioritized,
        initial_priorities=initial_priorities,
        exploration=exploration,
        hparams=Hparams() if hparams is None else hparams,
        agent=agent,
        **arguments,
    )._replace(may_lag=True)


apex.Hparams = Hparams  # type: ignore[attr-defined]
