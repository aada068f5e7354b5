"""Advantage actor-critic (Mnih et al. 2016, https://arxiv.org/abs/1602.01783).

A3C's update, made by all environments at once instead of one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
from flax import linen as nn

from rljax import networks
from rljax.agents import policy_gradient
from rljax.agents.assembly import check_hparams
from rljax.errors import check_at_most, check_positive
from rljax.types import Agent, Environment, Update
from rljax.updates import gae, n_step_advantage


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(policy_gradient.Hparams):
    """The numbers of A2C: traced, so they can be swept and mutated without compiling again."""

    gae_lambda: float = 1.0
    """1 is A3C's target, 0 the one-step actor-critic; unread where `n_step` is given."""


def a2c(
    env: Environment,
    *,
    num_envs: int = 16,
    rollout_length: int = 8,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    n_step: int | None = None,
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    network: str | nn.Module | networks.Network | networks.Pair = "auto",
    distribution: str = "normal",
    normalize_observations: bool = False,
    scale_images: bool = True,
    anneal_lr: bool = True,
    first: Update | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """Advantage actor-critic: one gradient step on each rollout, then the next.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates (A3C's t_max).
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        n_step: advantages over so many steps; by default GAE(`hparams.gae_lambda`).
        schedule_env_steps: environment steps over which schedules run (of the learning rate);
            by default `total_env_steps`.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "gru", "auto", a linen module, a pair `(init, apply)`, or a
            `networks.Network`, which may have a memory.
        distribution: of continuous actions: "normal" (clipped) or "tanh_normal" (squashed).
        normalize_observations: by running statistics, kept in the parameters.
        scale_images: whether images (three axes of uint8) are divided by 255.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the numbers; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, "a2c")
    check_positive(
        num_envs=num_envs, rollout_length=rollout_length, total_env_steps=total_env_steps
    )
    if n_step is not None:
        check_positive(n_step=n_step)
        check_at_most("n_step", n_step, "rollout_length", rollout_length)
    ac = networks.actor_critic(
        env,
        network,
        hidden,
        activation,
        distribution,
        normalize_observations,
        scale_images=scale_images,
        agent="a2c",
    )

    def advantage(hp: Hparams) -> Update:
        if n_step is None:
            return gae(ac.value, hp.gamma, hp.gae_lambda)
        return n_step_advantage(ac.value, hp.gamma, n_step)

    return policy_gradient.policy_gradient(
        env,
        ac,
        advantage,
        hparams,
        num_envs,
        rollout_length,
        total_env_steps,
        schedule_env_steps,
        anneal_lr,
        first,
        normalize_observations=normalize_observations,
    )


a2c.Hparams = Hparams  # type: ignore[attr-defined]
