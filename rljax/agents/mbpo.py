"""Model-based policy optimization (Janner et al. 2019, https://arxiv.org/abs/1906.08253)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from rljax.agents import off_policy_actor_critic as base
from rljax.agents import sac as plain
from rljax.agents.variants import variant_of
from rljax.hparams import non_negative
from rljax.networks import ActorAndCritics, EnsembleModel, ensemble_model
from rljax.types import Agent, Environment, Update
from rljax.updates import (
    chain,
    every,
    gradient,
    imagined_rollouts,
    model_loss,
    model_statistics,
    n_step,
)

ONE_STEP = ("n_step", "prioritized", "hindsight")
"""Arguments for other samples than single steps that are as likely as they happened."""
REPORTS = ("losses/model_loss", "losses/model_error", "losses/model_grad_norm")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(plain.Hparams):
    """The hyperparameters of MBPO: traced, so a sweep compiles once."""

    model_lr_factor: float = non_negative(1.0)
    """The learning rate of the model, as a multiple of it."""


def learning(
    model: EnsembleModel, learn_temperature: bool, model_period: int, **imagining: Any
) -> base.Learn:
    """Algorithm 2 of the paper, from a sample on."""
    improve_policy = plain.learning(learn_temperature)

    def learn(ac: ActorAndCritics, hp: Hparams, optimizers: base.Optimizers) -> Update:
        optimizer = optimizers.other(hp.model_lr_factor)
        fit_model = chain(
            model_statistics(model), gradient(model_loss(model), optimizer, part="model")
        )
        return chain(
            every(model_period, fit_model, REPORTS),
            imagined_rollouts(model, ac.policy, **imagining),
            n_step(hp.gamma),
            improve_policy(ac, hp, optimizers),
        )

    return learn


@variant_of(base.off_policy_actor_critic, *base.CHOSEN, *ONE_STEP)
def mbpo(
    env: Environment,
    *,
    batch_size: int = 256,
    updates_per_iteration: int = 20,
    num_critics: int = 2,
    learn_temperature: bool = True,
    noise: str = "none",
    num_models: int = 7,
    model_hidden: Sequence[int] = (200, 200, 200, 200),
    model_activation: str = "silu",
    model_period: int = 4,
    num_rollouts: int = 32,
    model_rollout_length: int = 1,
    model_buffer_size: int = 50_000,
    real_fraction: float = 0.05,
    hparams: Hparams | None = None,
    **arguments: Any,
) -> Agent:
    """SAC that learns from what an ensemble of models imagines, and from few real steps.

    Each update takes a sample of the replay buffer. Now and then the models learn from it. Short
    rollouts of the policy branch off from it, in the models, and fill a second replay buffer. SAC
    learns from a sample of that, with a part of the real one.

    Where a task ends is learnt, too, as one more output of each model: no environment has to say
    it. All models imagine; there is no choice of the best of them. The length of rollouts is fixed.

    Args:
        batch_size: real steps B sampled for an update, and steps that SAC learns from.
        updates_per_iteration: updates after each T x N steps.
        learn_temperature: whether the temperature is learnt, or stays what it is.
        num_models: models E of the ensemble.
        model_hidden: sizes of the dense layers of each model.
        model_activation: of the models: one of tanh, relu, elu, gelu, silu.
        model_period: updates for one gradient step of the models.
        num_rollouts: rollouts M in the models that begin in each update, at most B.
        model_rollout_length: steps of each of them.
        model_buffer_size: imagined steps in the second replay buffer.
        real_fraction: the part of what SAC learns from that is real.
    """
    model = ensemble_model(env, num_models, model_hidden, model_activation, agent="mbpo")
    return base.off_policy_actor_critic(
        env,
        learn=learning(
            model,
            learn_temperature,
            model_period,
            num_rollouts=num_rollouts,
            rollout_length=model_rollout_length,
            model_buffer_size=model_buffer_size,
            batch_size=batch_size,
            real_fraction=real_fraction,
        ),
        kind=Hparams,
        stochastic=True,
        targets=("critic",),
        parts={"model": model.init} | base.temperature_part(learn_temperature),
        batch_size=batch_size,
        updates_per_iteration=updates_per_iteration,
        num_critics=num_critics,
        noise=noise,
        hparams=hparams,
        agent="mbpo",
        **arguments,
    )


mbpo.Hparams = Hparams  # type: ignore[attr-defined]
