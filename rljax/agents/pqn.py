"""Parallelised Q-networks (Gallici et al. 2024, https://arxiv.org/abs/2407.04811).

Q-learning without a replay buffer and without a target network: many environments make the samples,
and layer normalisation keeps the values from diverging.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
from flax import linen as nn

from rljax import networks
from rljax.actors import Exploration, ExplorationHparams, exploring_actor
from rljax.agents.assembly import check_hparams, on_policy
from rljax.agents.curiosity import Curiosity, CuriosityHparams
from rljax.agents.schedule import Schedule
from rljax.hparams import fraction, non_negative
from rljax.types import Agent, Environment, Update
from rljax.updates import (
    chain,
    clipped_adam,
    epochs,
    gradient,
    lambda_target,
    learning_rate,
    observation_statistics,
    q_loss,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(ExplorationHparams, CuriosityHparams):
    """The hyperparameters of PQN: traced, so a sweep compiles once."""

    lr: float = non_negative(5e-4)
    """RAdam's learning rate (at the start, where it is annealed)."""
    gamma: float = fraction(0.99)
    """Discount per step."""
    q_lambda: float = fraction(0.65)
    """How far targets reach: 0 is one step, 1 the whole rollout."""
    exploration_fraction: float = fraction(0.1)
    """Part of the schedule over which epsilon is annealed, linearly."""
    max_grad_norm: float = non_negative(10.0)
    """Global norm at which gradients are clipped."""
    adam_eps: float = non_negative(1e-8)
    """RAdam's denominator offset."""


def pqn(
    env: Environment,
    *,
    num_envs: int = 128,
    rollout_length: int = 32,
    num_epochs: int = 2,
    num_minibatches: int = 32,
    total_env_steps: int = 1_000_000,
    schedule_env_steps: int | None = None,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    network: str | nn.Module | networks.Pair = "auto",
    layer_norm: bool = True,
    dueling: bool = False,
    exploration: str | Exploration = "epsilon_greedy",
    normalize_observations: bool = False,
    scale_images: bool = True,
    anneal_lr: bool = True,
    curiosity: str = "none",
    first: Update | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """Q-learning with a network, on lambda-returns of each rollout.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        num_epochs: passes over each batch [T, N].
        num_minibatches: parts of a batch, one gradient step each.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (learning rate, exploration);
            by default `total_env_steps`.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        network: "mlp", "cnn", "nature_cnn", "auto", a linen module or a pair `(init, apply)`.
        layer_norm: whether to normalise every layer, which is what keeps it stable.
        dueling: whether values are the sum of a state's value and actions' advantages.
        exploration: "epsilon_greedy" (annealed), "boltzmann", "fixed_epsilons", with an epsilon for
            each environment, or "ez_greedy", which repeats each random action for a random time,
            and so gets to where single ones do not; or an `actors.Exploration`.
        normalize_observations: by running statistics, kept in the parameters.
        scale_images: whether images (three axes of uint8) are divided by 255.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        curiosity: intrinsic rewards, added to the others: "none", "counts" (of states and actions),
            "rnd" (errors in predicting a random network) or "icm" (of a model of features).
        first: an update of your own, which is given every rollout once, before the others.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, "pqn")
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
    )
    q = networks.q_network(
        env,
        network,
        hidden,
        activation,
        dueling=dueling,
        layer_norm=layer_norm,
        head=networks.value_head("scalar", "squared"),
        normalize_observations=normalize_observations,
        scale_images=scale_images,
        agent="pqn",
    )

    curious = Curiosity(curiosity, env, network, hidden, num_minibatches, "pqn")

    def update(hp: Hparams, progress: jax.Array) -> Update:
        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = clipped_adam(lr, hp.max_grad_norm, hp.adam_eps, rectified=True)
        fit = gradient(q_loss(q), optimizer)
        return chain(
            first,
            curious.as_reward(hp),
            lambda_target(q, hp.gamma, hp.q_lambda),
            epochs(fit, num_epochs, num_minibatches),
            observation_statistics(q.net.encode) if normalize_observations else None,
        )

    return on_policy(
        env,
        actor=exploring_actor(exploration, q, env.action_space),
        update=update,
        hparams=hparams,
        schedule=schedule,
    )


pqn.Hparams = Hparams  # type: ignore[attr-defined]
