"""Soft actor-critic (Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905).

For discrete actions Christodoulou 2019, https://arxiv.org/abs/1910.07207.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rljax.agents import off_policy_actor_critic as base
from rljax.agents.variants import variant_of
from rljax.envs.action_masks import legal_actions
from rljax.envs.spaces import Discrete
from rljax.errors import check_known, check_positive
from rljax.hparams import at_most, fraction, positive
from rljax.networks import ActorAndCritics
from rljax.types import Agent, Environment, Obs, Update
from rljax.updates import (
    actor_loss,
    average,
    chain,
    critic_loss,
    critic_target,
    gradient,
    least,
    smallest,
    target_network,
    temperature_loss,
)
from rljax.updates.critics import Pool, Temperature

POLICY_VALUES = {"least": least, "average": average}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(base.Hparams):
    """The hyperparameters of SAC: traced, so a sweep compiles once."""

    temperature: float = positive(1.0)
    """What a nat of entropy is worth at the start; always, where it is not learnt."""
    target_entropy: float = at_most(-1.0, math.log(2))
    """Of a Box: the entropy that the learnt temperature aims at, in nats for each dimension of
    actions scaled to [-1, 1]."""
    target_entropy_fraction: float = fraction(0.98)
    """Of a Discrete space: the same, as a part of the largest there is, log(number of actions);
    with a mask, of the legal ones."""


def learning(
    learn_temperature: bool,
    pool: Pool = smallest,
    target_critics: int | None = None,
    policy_values: str = "least",
) -> base.Learn:
    """Algorithm 1 of the paper, from a sample on."""

    def learn(ac: ActorAndCritics, hp: Hparams, optimizers: base.Optimizers) -> Update:
        temperature = temperature_of(hp, learn_temperature)
        return chain(
            critic_target(ac, ac.choices, pool, target_critics, temperature),
            gradient(critic_loss(ac), optimizers.critic, part="critic"),
            fit_policy(ac, hp, optimizers, learn_temperature, policy_values),
            target_network(hp.tau, part="critic", target="target_critic"),
        )

    return learn


def temperature_of(hp: Hparams, is_learnt: bool) -> Temperature:
    """What a nat of entropy is worth, by the parameters."""
    return lambda params: hp.temperature * jnp.exp(params["temperature"] if is_learnt else 0.0)


def fit_policy(
    ac: ActorAndCritics,
    hp: Hparams,
    optimizers: base.Optimizers,
    learn_temperature: bool,
    policy_values: str = "least",
) -> Update:
    """The steps of the policy, and of the temperature if it is learnt."""
    temperature = temperature_of(hp, learn_temperature)
    of_actor = actor_loss(ac, POLICY_VALUES[policy_values], temperature=temperature)
    of_temperature = temperature_loss(target_entropy(ac, hp))
    fit_temperature = gradient(of_temperature, optimizers.actor, part="temperature")
    return chain(
        gradient(of_actor, optimizers.actor, part="actor"),
        fit_temperature if learn_temperature else None,
    )


def target_entropy(ac: ActorAndCritics, hp: Hparams) -> Callable[[Obs], Any]:
    """From observations [...] to the entropies that the temperature aims at: nats, [] or [...]."""

    def target(obs: Obs):
        if not isinstance(ac.space, Discrete):
            return hp.target_entropy * math.prod(ac.space.shape)
        legal = legal_actions(obs)
        # Where no action is legal training stops, and no infinity comes before the reason.
        most = math.log(ac.space.n) if legal is None else jnp.log(jnp.maximum(legal.sum(-1), 1))
        return hp.target_entropy_fraction * most

    return target


@variant_of(base.off_policy_actor_critic, *base.CHOSEN)
def sac(
    env: Environment,
    *,
    num_critics: int = 2,
    target_critics: int | None = None,
    policy_values: str = "least",
    learn_temperature: bool = True,
    noise: str = "none",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """A policy that is rewarded for its entropy, of continuous or of discrete actions.

    Args:
        target_critics: how many of the critics make a target, sampled anew for each update; by
            default all.
        policy_values: which of the critics' values of an action the policy goes by: the "least", or
            their "average".
        learn_temperature: whether the temperature is learnt, or stays what it is.
    """
    check_known("policy_values", policy_values, POLICY_VALUES)
    if target_critics is not None:
        check_positive(target_critics=target_critics)
    return base.off_policy_actor_critic(
        env,
        learn=learning(learn_temperature, smallest, target_critics, policy_values),
        kind=Hparams,
        stochastic=True,
        targets=("critic",),
        parts=base.temperature_part(learn_temperature),
        num_critics=num_critics,
        noise=noise,
        hparams=hparams,
        agent="sac",
        **arguments,
    )


sac.Hparams = Hparams  # type: ignore[attr-defined]
