"""MuZero (Schrittwieser et al. 2020, https://arxiv.org/abs/1911.08265), in a small form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
from flax import linen as nn

from rljax import networks
from rljax.actors import LatentSearchHparams, latent_search, random_searcher, searching_actor
from rljax.agents.assembly import check_hparams, off_policy
from rljax.agents.replays import ReplayHparams, Windows, replay_of
from rljax.agents.schedule import Schedule
from rljax.errors import check_positive
from rljax.hparams import fraction, non_negative
from rljax.types import Agent, Environment, Update
from rljax.updates import (
    chain,
    clipped_adam,
    gradient,
    learning_rate,
    observation_statistics,
    reanalyse,
    search_target,
    unrolled_loss,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(LatentSearchHparams, ReplayHparams):
    """The hyperparameters of MuZero: traced, so a sweep compiles once."""

    lr: float = non_negative(2e-3)
    """Adam's learning rate (at the start, where it is annealed)."""
    max_grad_norm: float = non_negative(5.0)
    """Global norm at which gradients are clipped."""
    adam_eps: float = non_negative(1e-5)
    """Adam's denominator offset."""
    value_coef: float = non_negative(0.5)
    """Weight of the value's loss; that of the policy is 1."""
    reward_coef: float = non_negative(1.0)
    """Weight of the reward's loss."""
    priority_exponent: float = fraction(1.0)
    """How much priorities count, from 0 (not at all) to 1."""


def muzero(
    env: Environment,
    *,
    num_envs: int = 32,
    rollout_length: int = 8,
    total_env_steps: int = 500_000,
    schedule_env_steps: int | None = None,
    buffer_size: int = 100_000,
    batch_size: int = 256,
    updates_per_iteration: int = 8,
    warmup_env_steps: int = 2_000,
    search: str = "puct",
    num_simulations: int = 16,
    unroll_steps: int = 5,
    n_step: int = 10,
    prioritized: bool = False,
    reanalysed: bool = False,
    hidden: Sequence[int] = (64, 64),
    model_hidden: Sequence[int] = (64,),
    state_size: int = 64,
    activation: str = "relu",
    network: str | nn.Module | networks.Pair = "auto",
    head: str | networks.ValueHead = "c51",
    loss: str | Callable = "squared",
    num_atoms: int = 51,
    v_min: float | None = -300.0,
    v_max: float | None = 300.0,
    rescale_values: bool = True,
    normalize_observations: bool = False,
    scale_images: bool = True,
    actor_obs: Sequence[str] | None = None,
    anneal_lr: bool = False,
    first: Update | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """A model that is learnt for planning alone, and a tree search in it that acts.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment`.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        total_env_steps: how long to train, warm-up included; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run (learning rate, temperature,
            importance weights); by default `total_env_steps`.
        buffer_size: steps in the replay buffer, over all environments; rounded up to whole
            rollouts.
        batch_size: sequences B sampled for an update.
        updates_per_iteration: updates after each T x N steps.
        warmup_env_steps: random steps before the first update; rounded up to whole rollouts.
        search: "puct", or "gumbel" (Gumbel MuZero), which learns from a few simulations.
        num_simulations: steps that the model imagines before each step in the environment.
        unroll_steps: steps K that the model imagines where it learns.
        n_step: how many rewards a target sums before it bootstraps from a value of the model.
        prioritized: whether to sample by the size of the last error of the first value.
        reanalysed: whether samples are searched anew, with the present parameters. Each update then
            costs batch_size x (1 + unroll_steps) searches.
        hidden: sizes of the dense layers of the representation.
        model_hidden: sizes of those of dynamics, policy and value.
        state_size: numbers of a state of the model.
        activation: one of tanh, relu, elu, gelu, silu.
        network: of the representation: "mlp", "cnn", "nature_cnn", "auto", a linen module or a pair
            `(init, apply)`; see `networks.latent_model`.
        head: what outputs for rewards and values are: "c51", probabilities of returns, or "scalar",
            "qr", or a `networks.ValueHead`.
        loss: of the scalar head: "squared", "huber", or a function from errors [...] to losses
            [...].
        num_atoms: of c51 and qr: atoms, or quantiles.
        v_min: of c51: the least reward and discounted return that is possible.
        v_max: the largest.
        rescale_values: whether c51 and scalar learn numbers made small by `ops.rescaled`.
        normalize_observations: by running statistics, kept in the parameters.
        scale_images: whether images (three axes of uint8) are divided by 255.
        actor_obs: of observations that are a Dict, the parts that are read, such as ["state"]; by
            default all.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        first: an update of your own, which is given every rollout once, before it is added to the
            replay buffer (of what it writes, the fields of a step).
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, "muzero")
    check_positive(unroll_steps=unroll_steps)
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
        warmup_env_steps=warmup_env_steps,
        updates_per_iteration=updates_per_iteration,
    )
    windows = Windows(n_step, unroll_steps=unroll_steps)
    replay = replay_of(schedule, buffer_size, batch_size, windows, prioritized)
    model = networks.latent_model(
        env,
        network,
        hidden,
        model_hidden,
        state_size,
        activation,
        head=networks.value_head(head, loss, num_atoms, v_min, v_max, rescale=rescale_values),
        normalize_observations=normalize_observations,
        scale_images=scale_images,
        names=actor_obs,
        agent="muzero",
    )
    actor = searching_actor(model, latent_search(model, search, num_simulations))
    statistics = observation_statistics(model.encode, "representation")

    def update(hp: Hparams, progress: jax.Array) -> Update:
        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = clipped_adam(lr, hp.max_grad_norm, hp.adam_eps)
        return chain(
            search_target(model, hp.gamma, n_step, unroll_steps),
            reanalyse(actor.policy(hp, progress)) if reanalysed else None,
            gradient(unrolled_loss(model, hp.value_coef, hp.reward_coef), optimizer),
        )

    return off_policy(
        env,
        actor=actor,
        update=update,
        replay=partial(replay, extras=("search_policy",)),
        hparams=hparams,
        schedule=schedule,
        fresh=lambda hp, progress: chain(first, statistics if normalize_observations else None),
        warmup=random_searcher(env.action_space),
    )


muzero.Hparams = Hparams  # type: ignore[attr-defined]
