"""Asynchronous advantage actor-critic (Mnih et al. 2016, https://arxiv.org/abs/1602.01783).

Each actor computes gradients with the parameters that it acted with. A parameter server applies
them as they come, with statistics of RMSProp that all of them share.
"""

from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import policy_gradient as base
from rljax.agents.a2c import advantage_of
from rljax.agents.variants import variant_of
from rljax.envs.simulators import on_host
from rljax.hparams import fraction
from rljax.types import Agent, Environment, HostActors


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(base.WithRMSProp):
    """The hyperparameters of A3C: traced, so a sweep compiles once."""

    gae_lambda: float = fraction(1.0)
    """1 is the target of algorithm S3, 0 the one-step actor-critic; unread with `n_step`."""


@variant_of(
    base.policy_gradient,
    *{*base.CHOSEN} - {"policy_lag"},
    "normalize_observations",
    "curiosity",
)
def a3c(
    env: Environment,
    *,
    policy_lag: int = 0,
    n_step: int | None = None,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """Asynchronous advantage actor-critic: gradients of older parameters change the newest ones.

    On a simulator of the host, actors are the workers of algorithm S3, and the learner is their
    parameter server: see [Actors](../actors.md). Elsewhere all environments are one worker.

    Args:
        policy_lag: for an environment in JAX, how many iterations old the parameters are that act
            and whose gradients are applied; 0 for A2C with RMSProp.
        n_step: advantages over so many steps; by default GAE(`hparams.gae_lambda`).
        first: an update of your own, which is given every rollout once, before the others; one
            that keeps no state, as `updates.stateless` makes.
    """
    agent = base.policy_gradient(
        env,
        advantage=advantage_of(n_step),
        optimizer=base.rmsprop,
        policy_lag=policy_lag,
        contribute=True,
        normalize_observations=False,
        agent="a3c",
        kind=Hparams,
        hparams=hparams,
        **arguments,
    )
    return agent._replace(actors=HostActors(parameter_server=True)) if on_host(env) else agent


a3c.Hparams = Hparams  # type: ignore[attr-defined]
