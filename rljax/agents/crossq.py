"""CrossQ: SAC without target networks (Bhatt et al. 2024, https://arxiv.org/abs/1902.05605)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import off_policy_actor_critic as base
from rljax.agents import sac as plain
from rljax.agents.variants import variant_of
from rljax.hparams import fraction, non_negative
from rljax.networks import ActorAndCritics
from rljax.types import Agent, Environment, Update
from rljax.updates import batch_statistics, chain, every, gradient, joint_critic_loss

REPORTS = ("policy_loss", "actor_grad_norm", "entropy", "temperature")
OF_LEARNT_TEMPERATURE = ("temperature_loss", "temperature_grad_norm")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of CrossQ: traced, so a sweep compiles once."""

    lr: float = non_negative(1e-3)
    """Adam's learning rate (at the start, where it is annealed)."""
    adam_b1: float = fraction(0.5)
    """How much of Adam's mean gradient a step keeps."""


def learning(learn_temperature: bool, policy_delay: int) -> base.Learn:
    """Section 3 of the paper, from a sample on."""
    names = REPORTS + (OF_LEARNT_TEMPERATURE if learn_temperature else ())
    reports = [f"losses/{name}" for name in names]

    def learn(ac: ActorAndCritics, hp: Hparams, optimizers: base.Optimizers) -> Update:
        temperature = plain.temperature_of(hp, learn_temperature)
        loss = joint_critic_loss(ac, ac.choices, temperature=temperature)
        follow_critics = plain.fit_policy(ac, hp, optimizers, learn_temperature)
        return chain(
            gradient(loss, optimizers.critic, part="critic"),
            batch_statistics("critic"),
            every(policy_delay, follow_critics, reports),
        )

    return learn


@variant_of(base.off_policy_actor_critic, *base.CHOSEN)
def crossq(
    env: Environment,
    *,
    num_critics: int = 2,
    critic_hidden: Sequence[int] | None = (2048, 2048),
    policy_delay: int = 3,
    learn_temperature: bool = True,
    noise: str = "none",
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """SAC whose critics are normalised over batches, and so need no target network.

    The policy's layers are not normalised; in the authors' code they are, too.

    Args:
        critic_hidden: sizes of the dense layers of each critic.
        policy_delay: updates of the critics for one of the policy and of the temperature.
        learn_temperature: whether the temperature is learnt, or stays what it is.
    """
    return base.off_policy_actor_critic(
        env,
        learn=learning(learn_temperature, policy_delay),
        kind=Hparams,
        stochastic=True,
        targets=(),
        parts=base.temperature_part(learn_temperature),
        num_critics=num_critics,
        critic_hidden=critic_hidden,
        batch_norm=True,
        noise=noise,
        hparams=hparams,
        agent="crossq",
        **arguments,
    )


crossq.Hparams = Hparams  # type: ignore[attr-defined]
