"""Proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax import networks, ops
from rljax.actors import lagged, policy_actor
from rljax.agents.assembly import check_hparams, on_policy
from rljax.agents.curiosity import Curiosity, CuriosityHparams
from rljax.agents.schedule import Schedule
from rljax.agents.self_play import SelfPlay, SelfPlayHparams
from rljax.errors import check_known
from rljax.hparams import fraction, non_negative
from rljax.types import Agent, Batch, Environment, Update
from rljax.updates import (
    actor_critic_loss,
    adaptive_kl,
    chain,
    clipped_adam,
    epochs,
    gae,
    gradient,
    learning_rate,
    observation_statistics,
    remember_parameters,
    scaled_rewards,
    target_statistics,
)

OBJECTIVES = ("clip", "kl_penalty")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(CuriosityHparams, SelfPlayHparams):
    """The hyperparameters of PPO: traced, so a sweep compiles once."""

    lr: float = non_negative(2.5e-4)
    """Adam's learning rate (at the start, where it is annealed)."""
    gamma: float = fraction(0.99)
    """Discount per step."""
    gae_lambda: float = fraction(0.95)
    """Bias (0) against variance (1) of the advantage."""
    clip_eps: float = non_negative(0.2)
    """How far the probability ratio may move before its gradient stops; also for values."""
    value_coef: float = non_negative(0.5)
    """Weight of the value loss."""
    entropy_coef: float = non_negative(0.01)
    """Weight of the entropy bonus."""
    max_grad_norm: float = non_negative(0.5)
    """Global norm at which gradients are clipped."""
    adam_eps: float = non_negative(1e-5)
    """Adam's denominator offset."""
    target_kl: float = non_negative(0.015)
    """KL in nats per iteration: where `stop_at_kl` stops (times 1.5) and the penalty aims."""
    kl_coef: float = non_negative(1.0)
    """The penalty's coefficient to start from, with objective "kl_penalty"."""


def gae_of(ac: networks.ActorCritic, hp: Hparams) -> Update:
    """The advantages of PPO."""
    return gae(ac.value, hp.gamma, hp.gae_lambda)


def ppo(
    env: Environment,
    *,
    num_envs: int = 64,
    rollout_length: int = 128,
    num_epochs: int = 4,
    num_minibatches: int = 4,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    network: str | nn.Module | networks.Network | networks.Pair = "auto",
    sequence_length: int | None = None,
    distribution: str | networks.Head = "normal",
    objective: str = "clip",
    clip_value: bool = False,
    standardize_advantages: bool = True,
    normalize_observations: bool = False,
    normalize_values: bool = False,
    reward_scale: float = 1.0,
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    critic_obs: Sequence[str] | None = None,
    critic_hidden: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    anneal_lr: bool = True,
    stop_at_kl: bool = False,
    policy_lag: int = 0,
    curiosity: str = "none",
    opponents: int = 0,
    opponent_period: int = 10,
    advantage: Callable[[networks.ActorCritic, Any], Update] = gae_of,
    auxiliary_loss: Callable[[Any, Batch, jax.Array], jax.Array] | None = None,
    first: Update | None = None,
    hparams: Hparams | None = None,
    agent: str = "ppo",
) -> Agent:
    """Proximal policy optimisation.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        num_epochs: passes over each batch [T, N].
        num_minibatches: parts of a batch, one gradient step each.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (of the learning rate);
            by default `total_env_steps`.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "nature_cnn", "gru", "lstm", "min_gru" or "gtrxl" (a memory of size
            `hidden[-1]`), "auto", a linen module, a pair `(init, apply)`, or a `networks.Network`,
            which may be recurrent.
        sequence_length: steps L that a minibatch keeps together; by default `rollout_length` for
            a recurrent network, else 1.
        distribution: of continuous actions: "normal" (clipped) or "tanh_normal" (squashed); or a
            `networks.Head`.
        objective: "clip" (eq. 7) or "kl_penalty" with an adaptive coefficient (eq. 8).
        clip_value: whether to clip the value loss, too.
        standardize_advantages: to mean 0 and deviation 1 within each minibatch.
        normalize_observations: by running statistics, kept in the parameters.
        normalize_values: whether the value function learns standard values, of targets of running
            mean 0 and deviation 1.
        reward_scale: what rewards are multiplied by before they are learnt from.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that the policy reads, such as
            ["state"]; by default all.
        critic_obs: the parts that the value function reads; by default all.
        critic_hidden: sizes of the dense layers of the value function; by default `hidden`.
        groups: of an environment of several agents, for each the number of its parameters: ippo and
            mappo set it.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        stop_at_kl: whether to end an iteration's epochs once `approx_kl` passes 1.5 `target_kl`.
        policy_lag: how many iterations old the parameters are that act, as those of the actors of
            a distributed learner; 0 for none.
        curiosity: intrinsic rewards with values of their own: "none", "counts" (of states and
            actions), "rnd" (errors in predicting a random network) or "icm" (of a model of
            features).
        opponents: in a game of two players, how many earlier selves K it plays against, of which
            one is drawn for each game; 0 for an environment of one player.
        opponent_period: iterations after which the oldest of them is replaced by the present self.
        advantage: `(actor-critic, hparams)` to the update that writes advantages and targets; GAE
            by default.
        auxiliary_loss: `(policy, batch, progress)` to losses [L, B] that are added to the policy's,
            such as `updates.kickstarting`.
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the hyperparameters; `Hparams()` by default.
        agent: who this is, in error messages.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, agent)
    check_known("objective", objective, OBJECTIVES)
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
    )
    games = SelfPlay(env, opponents, opponent_period, agent)
    env = games.env
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
        groups=groups,
        agent=agent,
    )
    if normalize_values:
        ac = ac._replace(net=networks.with_normalized_values(ac.net))
    curious = Curiosity(curiosity, env, network, hidden, num_minibatches, agent)
    advantages = curious.beside(advantage)
    if sequence_length is None:
        sequence_length = rollout_length if ac.net.recurrent else 1

    def update(hp: Hparams, progress: jax.Array) -> Update:
        def policy_loss(pi, outputs, batch: Batch):
            old = batch.extras
            log_ratio = pi.log_prob(old["raw_action"]) - old["log_prob"]
            if objective == "clip":
                losses = ops.clipped_surrogate(log_ratio, old["advantage"], hp.clip_eps)
            else:
                kl = ac.kl(old["old_outputs"], outputs)
                losses = ops.penalized_surrogate(log_ratio, old["advantage"], kl, old["kl_coef"])
            if auxiliary_loss is not None:
                losses = losses + auxiliary_loss(pi, batch, progress)
            return losses, {
                "losses/approx_kl": ops.approximate_kl(log_ratio).mean(),
                "losses/clipfrac": (jnp.abs(jnp.expm1(log_ratio)) > hp.clip_eps).mean(),
            }

        def value_loss(value, batch: Batch):
            value, old, target = (
                x * batch.extras.get("value_scale", 1.0)
                for x in (value, batch.extras["value"], batch.extras["target"])
            )
            if clip_value:
                return ops.clipped_value_loss(value, old, target, hp.clip_eps)
            return ops.value_loss(value, target)

        def moved_too_far(metrics):
            return metrics["losses/approx_kl"] > 1.5 * hp.target_kl

        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = clipped_adam(lr, hp.max_grad_norm, hp.adam_eps)
        loss = actor_critic_loss(ac, policy_loss, value_loss, hp.value_coef, hp.entropy_coef)
        fit = epochs(
            gradient(loss, optimizer),
            num_epochs,
            num_minibatches,
            sequence_length,
            stop=moved_too_far if stop_at_kl else None,
            standardize=("advantage",) if standardize_advantages else (),
        )
        if objective == "kl_penalty":
            fit = adaptive_kl(fit, ac.outputs, ac.kl, hp.target_kl, hp.kl_coef)
        part = ("network",) if normalize_values else ()
        statistics = observation_statistics(ac.net.encode, *part)
        learn = chain(
            first,
            scaled_rewards(reward_scale) if reward_scale != 1.0 else None,
            advantages(ac, hp),
            target_statistics() if normalize_values else None,
            fit,
            statistics if normalize_observations else None,
        )
        return games.update(remember_parameters(learn, policy_lag))

    actor = lagged(policy_actor(ac), policy_lag)
    return on_policy(
        env,
        actor=games.actor(actor),
        update=update,
        hparams=hparams,
        schedule=schedule,
        acts_in=games.against_opponents(actor),
    )


ppo.Hparams = Hparams  # type: ignore[attr-defined]
