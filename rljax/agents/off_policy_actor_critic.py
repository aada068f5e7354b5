"""What DDPG, TD3, SAC and their kin share: all but the chain of updates that makes each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from rljax import networks
from rljax.actors import NoiseHparams, noisy_actor
from rljax.agents.assembly import check_hparams, off_policy
from rljax.agents.replays import ReplayHparams, Windows, relabelled, replay_of
from rljax.agents.schedule import Schedule
from rljax.envs.agents import joint_space
from rljax.hparams import fraction, non_negative
from rljax.types import Actor, Agent, Environment, Key, Update
from rljax.updates import chain, learning_rate, observation_statistics, scaled_rewards, td


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(NoiseHparams, ReplayHparams):
    """The hyperparameters that all of them have."""

    lr: float = non_negative(1e-3)
    """Adam's learning rate (at the start, where it is annealed)."""
    critic_lr_factor: float = non_negative(1.0)
    """The learning rate of critics, as a multiple of it."""
    adam_b1: float = fraction(0.9)
    """How much of Adam's mean gradient a step keeps."""
    adam_eps: float = non_negative(1e-8)
    """Adam's denominator offset."""
    gamma: float = fraction(0.99)
    """Discount per step."""
    tau: float = fraction(0.005)
    """How far target networks move each time: 1 is a copy."""
    priority_exponent: float = fraction(0.6)
    """How much priorities count, from 0 (not at all) to 1."""


class Optimizers(NamedTuple):
    """Who makes steps of the gradients of each part of the parameters."""

    actor: optax.GradientTransformation
    critic: optax.GradientTransformation
    other: Callable[[Any], optax.GradientTransformation]
    """Of a further part, at a multiple of the learning rate."""


Learn = Callable[[networks.ActorAndCritics, Any, Optimizers], Update]
"""(policy and critics, hparams, optimizers) to an update of samples whose steps are n-step ones."""


def temperature_part(is_learnt: bool) -> dict[str, Callable[[Key], Any]]:
    """The part of the parameters that a learnt temperature is: its logarithm, at first 0."""
    return {"temperature": lambda key: jnp.zeros(())} if is_learnt else {}


CHOSEN = (
    *("learn", "kind", "stochastic", "targets", "parts", "batch_norm"),
    *("relaxation", "groups", "central", "agent"),
)
"""Arguments that the agents decide."""


def off_policy_actor_critic(
    env: Environment,
    *,
    learn: Learn,
    kind: type = Hparams,
    stochastic: bool = False,
    targets: Sequence[str] = ("actor", "critic"),
    parts: Mapping[str, Callable[[Key], Any]] | None = None,
    num_envs: int = 1,
    rollout_length: int = 1,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    buffer_size: int = 1_000_000,
    batch_size: int = 256,
    updates_per_iteration: int = 1,
    warmup_env_steps: int = 1_000,
    noise: str = "gaussian",
    n_step: int = 1,
    prioritized: bool = False,
    hindsight: int = 0,
    num_critics: int = 1,
    head: str | networks.ValueHead = "scalar",
    loss: str | Callable = "squared",
    num_atoms: int = 51,
    v_min: float | None = None,
    v_max: float | None = None,
    hidden: Sequence[int] = (256, 256),
    activation: str = "relu",
    network: str | nn.Module | networks.Pair = "auto",
    critic_network: str | nn.Module | networks.Pair = "auto",
    layer_norm: bool = False,
    batch_norm: bool = False,
    normalize_observations: bool = False,
    reward_scale: float = 1.0,
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    critic_obs: Sequence[str] | None = None,
    critic_hidden: Sequence[int] | None = None,
    relaxation: str | None = None,
    groups: Sequence[int] | None = None,
    central: bool = False,
    anneal_lr: bool = False,
    first: Update | None = None,
    hparams: Hparams | None = None,
    agent: str = "off_policy_actor_critic",
) -> Agent:
    """A policy and critics that learn from samples of a replay buffer.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        learn: from policy and critics, hyperparameters and optimizers to the update.
        kind: the class of its hyperparameters.
        stochastic: whether the policy is a distribution, or one action.
        targets: the parts of the parameters that target networks follow.
        parts: further parts of the parameters by name, each from a key to what it begins as.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, warm-up included; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (learning rate, importance
            weights); by default `total_env_steps`.
        buffer_size: steps in the replay buffer, over all environments; rounded up to whole
            rollouts.
        batch_size: steps B sampled for an update.
        updates_per_iteration: updates after each T x N steps.
        warmup_env_steps: random steps before the first update; rounded up to whole rollouts.
        noise: on the actions that explore: "gaussian", new in each step, "ornstein_uhlenbeck",
            which goes on from step to step, or "none".
        n_step: how many rewards a target sums before it bootstraps.
        prioritized: whether to sample by the size of the last error.
        hindsight: for an environment with goals, how many steps ahead a sample may look for another
            goal, one that was reached there; 0 for none.
        num_critics: how many critics there are, each with weights of its own.
        head: what a critic's outputs are: "scalar", or a distribution over returns: "c51" or "qr";
            or a `networks.ValueHead`.
        loss: of the scalar head: "squared" or "huber", or a function from errors [...] to losses
            [...].
        num_atoms: of a distribution: atoms (c51) or quantiles (qr).
        v_min: the least discounted return that is possible; c51 needs it.
        v_max: the largest.
        hidden: sizes of the dense layers of each network.
        activation: one of tanh, relu, elu, gelu, silu.
        network: of the policy: "mlp", "cnn", "nature_cnn", "auto", a linen module or a pair
            `(init, apply)`; see `networks.actor_and_critics`.
        critic_network: of the critics, in the same way.
        layer_norm: whether critics normalise each layer but the last before its activation.
        batch_norm: whether they normalise what enters a layer over the batch.
        normalize_observations: by running statistics, kept in the parameters.
        reward_scale: what rewards are multiplied by before they are learnt from.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that the policy reads, such as
            ["state"]; by default all.
        critic_obs: the parts that the critics read; by default all.
        critic_hidden: sizes of the dense layers of each critic; by default `hidden`.
        relaxation: how gradients pass samples of discrete actions: "straight_through" or "soft".
        groups: of several agents, for each the number of its parameters, see `networks.of_agents`.
        central: whether critics read what all agents observe and do.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        first: an update of your own, which is given every rollout once, before it is added to the
            replay buffer (of what it writes, the fields of a step).
        hparams: the hyperparameters; `Hparams()` by default.
        agent: who this is, in error messages.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, kind, agent)
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
        warmup_env_steps=warmup_env_steps,
        updates_per_iteration=updates_per_iteration,
    )
    windows = Windows(n_step, hindsight=hindsight)
    replay = replay_of(schedule, buffer_size, batch_size, windows, prioritized)
    ac = networks.actor_and_critics(
        env,
        network,
        hidden,
        activation,
        value=networks.value_head(head, loss, num_atoms, v_min, v_max),
        num_critics=num_critics,
        critic_kind=critic_network,
        stochastic=stochastic,
        targets=targets,
        parts=parts,
        layer_norm=layer_norm,
        batch_norm=batch_norm,
        normalize_observations=normalize_observations,
        scale_images=scale_images,
        actor_obs=actor_obs,
        critic_obs=critic_obs,
        critic_hidden=critic_hidden,
        relaxation=relaxation,
        groups=groups,
        central=central,
        agent=agent,
    )
    other_goals = relabelled(env, hindsight)
    actor = Actor(
        ac.init,
        lambda hp, progress: ac.policy,
        lambda hp: ac.mode,
        distribution=lambda params, obs, carry: (ac.distribution(params, obs), carry),
    )
    statistics = observation_statistics(ac.encode) if normalize_observations else None

    def update(hp: Hparams, progress: jax.Array) -> Update:
        lr = learning_rate(hp.lr, progress, anneal_lr)

        def scaled(factor) -> optax.GradientTransformation:
            return optax.adam(factor * lr, b1=hp.adam_b1, eps=hp.adam_eps)

        return chain(
            other_goals(hp),
            scaled_rewards(reward_scale) if reward_scale != 1.0 else None,
            td.n_step(hp.gamma, n_step, rows=1),
            learn(ac, hp, Optimizers(scaled(1.0), scaled(hp.critic_lr_factor), scaled)),
        )

    return off_policy(
        env,
        actor=noisy_actor(noise, actor, joint_space(env, env.action_space)),
        update=update,
        replay=replay,
        hparams=hparams,
        schedule=schedule,
        fresh=lambda hp, progress: chain(first, statistics),
    )
