"""What REINFORCE, A2C, A3C and IMPALA share: everything but the advantage, and the optimizer.

PPO takes the same step several times over, with a loss that keeps it near the policy that acted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from rljax import networks, ops
from rljax.actors import lagged, policy_actor
from rljax.agents.assembly import check_hparams, on_policy
from rljax.agents.curiosity import Curiosity, CuriosityHparams
from rljax.agents.schedule import Schedule
from rljax.hparams import fraction, non_negative, positive
from rljax.types import Agent, Batch, Environment, Update
from rljax.updates import (
    actor_critic_loss,
    chain,
    clipped_adam,
    gradient,
    learning_rate,
    observation_statistics,
    remember_parameters,
)

Advantage = Callable[[networks.ActorCritic, Any], Update]
"""(actor-critic, hparams) to an update that writes advantage [T, N] and, if values are learnt,
target [T, N]."""

Optimizer = Callable[[Any, Any], optax.GradientTransformation]
"""(hparams, learning rate) to what makes steps of gradients."""

CHOSEN = ("advantage", "learn_values", "optimizer", "policy_lag", "contribute", "agent", "kind")
"""Arguments of `policy_gradient` that its variants decide."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shared(CuriosityHparams):
    """The hyperparameters of a policy gradient, but for those of its optimizer."""

    lr: float = non_negative(2e-3)
    """The learning rate (at the start, where it is annealed)."""
    gamma: float = fraction(0.99)
    """Discount per step."""
    value_coef: float = non_negative(0.5)
    """Weight of the value loss."""
    entropy_coef: float = non_negative(0.01)
    """Weight of the entropy bonus."""
    max_grad_norm: float = non_negative(0.5)
    """Global norm at which gradients are clipped."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(Shared):
    """The hyperparameters of a policy gradient with Adam: traced, so a sweep compiles once."""

    lr: float = non_negative(2e-3)
    """Adam's learning rate (at the start, where it is annealed)."""
    adam_eps: float = non_negative(1e-5)
    """Adam's denominator offset."""


def adam(hp: Hparams, lr) -> optax.GradientTransformation:
    """Adam behind a clip of the gradients' norm."""
    return clipped_adam(lr, hp.max_grad_norm, hp.adam_eps)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WithRMSProp(Shared):
    """The hyperparameters of a policy gradient with RMSProp."""

    lr: float = non_negative(2e-3)
    """RMSProp's learning rate (at the start, where it is annealed)."""
    rmsprop_decay: float = fraction(0.99)
    """How much of RMSProp's mean square a step keeps."""
    rmsprop_eps: float = positive(1e-5)
    """RMSProp's offset, inside the square root of its denominator."""


def rmsprop(hp: WithRMSProp, lr) -> optax.GradientTransformation:
    """RMSProp without momentum, behind a clip of the gradients' norm.

    Mean squares start at 1, as in IMPALA's implementation: so the first steps are short.
    """
    return optax.chain(
        optax.clip_by_global_norm(hp.max_grad_norm),
        optax.rmsprop(lr, decay=hp.rmsprop_decay, eps=hp.rmsprop_eps, initial_scale=1.0),
    )


def policy_gradient(
    env: Environment,
    *,
    advantage: Advantage,
    learn_values: bool = True,
    optimizer: Optimizer = adam,
    policy_lag: int = 0,
    contribute: bool = False,
    agent: str = "policy_gradient",
    kind: type = Hparams,
    num_envs: int = 16,
    rollout_length: int = 8,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    network: str | nn.Module | networks.Network | networks.Pair = "auto",
    distribution: str | networks.Head = "normal",
    normalize_observations: bool = False,
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    critic_obs: Sequence[str] | None = None,
    critic_hidden: Sequence[int] | None = None,
    anneal_lr: bool = True,
    curiosity: str = "none",
    first: Update | None = None,
    hparams: Shared | None = None,
) -> Agent:
    """One gradient step on each rollout, up log-probability x advantage.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (of the learning rate);
            by default `total_env_steps`.
        advantage: `(actor-critic, hparams)` to the update that writes the weights of actions.
        learn_values: whether a value function is learnt.
        optimizer: `(hparams, learning rate)` to the optimizer.
        policy_lag: how many iterations old the parameters are that act, see `actors.lagged`.
        contribute: whether gradients are as old as actions, see `updates.remember_parameters`.
        agent: who this is, in error messages.
        kind: the class of its hyperparameters.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "nature_cnn", "gru", "lstm", "min_gru" or "gtrxl" (a memory of size
            `hidden[-1]`), "auto", a linen module, a pair `(init, apply)`, or a `networks.Network`,
            which may be recurrent.
        distribution: of continuous actions: "normal" (clipped) or "tanh_normal" (squashed); or a
            `networks.Head`.
        normalize_observations: by running statistics, kept in the parameters.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that the policy reads, such as
            ["state"]; by default all.
        critic_obs: the parts that the value function reads; by default all.
        critic_hidden: sizes of the dense layers of the value function; by default `hidden`.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        curiosity: intrinsic rewards with values of their own: "none", "counts" (of states and
            actions), "rnd" (errors in predicting a random network) or "icm" (of a model of
            features).
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, kind, agent)
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
    )
    ac = networks.actor_critic(
        env,
        network,
        hidden,
        activation,
        distribution,
        normalize_observations,
        scale_images=scale_images,
        actor_obs=actor_obs,
        critic_obs=critic_obs,
        critic_hidden=critic_hidden,
        agent=agent,
    )

    advantages = Curiosity(curiosity, env, network, hidden, agent=agent).beside(advantage)

    def policy_loss(pi, outputs, batch: Batch):
        log_prob = pi.log_prob(batch.extras["raw_action"])
        return ops.policy_gradient_loss(log_prob, batch.extras["advantage"]), {}

    def value_loss(value, batch: Batch):
        return ops.value_loss(value, batch.extras["target"]) if learn_values else jnp.zeros(())

    def update(hp: Shared, progress: jax.Array) -> Update:
        loss = actor_critic_loss(ac, policy_loss, value_loss, hp.value_coef, hp.entropy_coef)
        lr = learning_rate(hp.lr, progress, anneal_lr)
        learn = chain(
            first,
            advantages(ac, hp),
            gradient(loss, optimizer(hp, lr)),
            observation_statistics(ac.net.encode) if normalize_observations else None,
        )
        return remember_parameters(learn, policy_lag, contribute)

    actor = lagged(policy_actor(ac), policy_lag)
    return on_policy(env, actor=actor, update=update, hparams=hparams, schedule=schedule)
