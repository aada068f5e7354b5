"""Learning from what a model of the environment imagines: short rollouts from states that were."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.errors import UsageError, check_at_most, check_positive
from rljax.networks.ensembles import EnsembleModel
from rljax.networks.normalization import standardized
from rljax.replay import Replay, uniform
from rljax.types import (
    Batch,
    Extras,
    Key,
    Metrics,
    Obs,
    Params,
    Policy,
    Transition,
    Update,
    UpdateState,
)
from rljax.updates.normalization import merge
from rljax.updates.optimization import Loss

BOUND_COEF = 0.01
"""What it costs to keep the bounds of log-variances apart: that of the code of Chua et al."""


def model_statistics(model: EnsembleModel) -> Update:
    """Add the batch to the statistics by which an ensemble of models standardises.

    Reads obs, action, reward and next_obs, of a sample or of fresh experience. Changes the part
    "model" of the parameters.
    """

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        statistics = merge(params["model"]["statistics"], model.features(batch))
        changed = {**params["model"], "statistics": statistics}
        return {**params, "model": changed}, state, batch, {}

    return Update(lambda params, key: (), apply)


def model_loss(model: EnsembleModel) -> Loss:
    """How unlikely each member of an ensemble of models finds a batch; the sum over members.

        -log N(outcome; mean, variance) - log p(terminated)

    Each member learns from its own half of the steps, drawn anew each time, so that members differ
    where there is little to learn from. The bounds of log-variances are drawn together.

    Reads obs, action, reward, next_obs and terminated. For `gradient(..., part="model")`.

    Source: Chua et al. 2018, eq. 1 and appendix A.1, https://arxiv.org/abs/1805.12114; halves
    instead of samples with replacement: Osband et al. 2016, appendix D (double-or-nothing),
    https://arxiv.org/abs/1602.04621.
    """

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        own = params["model"]
        outcome = model.features(batch)["outcomes"]
        outcome = standardized(own["statistics"]["outcomes"], outcome)
        mean, log_variance, end = model.predict(own, batch.obs, batch.action)
        keys = collectives.row_keys(key, *batch.reward.shape)
        half = jax.vmap(jax.vmap(lambda k: jax.random.bernoulli(k, 0.5, (model.num_members,))))
        weight = 2.0 * jnp.moveaxis(half(keys), -1, 0)  # [E, T, N]
        error = jnp.square(mean - outcome)
        surprise = 0.5 * jnp.sum(error * jnp.exp(-log_variance) + log_variance, axis=-1)
        of_end = jax.nn.softplus(end) - end * batch.terminated
        bounds = own["bounds"]
        total = model.num_members * jnp.mean(weight * (surprise + of_end)) + BOUND_COEF * jnp.sum(
            bounds["most"] - bounds["least"]
        )
        return total, {"losses/model_loss": total, "losses/model_error": jnp.mean(error)}

    return loss


def imagined_rollouts(
    model: EnsembleModel,
    policy: Policy,
    *,
    num_rollouts: int,
    rollout_length: int,
    model_buffer_size: int,
    batch_size: int,
    real_fraction: float,
) -> Update:
    """Replace most of a sample by steps that a model imagines, in branched rollouts.

    Rollouts of the policy begin at the first `num_rollouts` observations of the sample. In each
    step, each of them asks a member of the ensemble at random. One that reaches an end begins anew
    where it began. They are added to a replay buffer, the state of this update, and all of the
    sample but `real_fraction` of it becomes a sample of that.

    Reads the first row of a sample [K, B], and the part "model" of the parameters. Gives a batch
    [1, B] without extras: `n_step` writes the discount again. Metrics `charts/imagined_reward` and
    `charts/imagined_ends`, means over the imagined steps.

    Args:
        model: as `networks.ensemble_model` makes it.
        policy: who acts, by the present parameters.
        num_rollouts: M, at most B.
        rollout_length: steps T of each.
        model_buffer_size: imagined steps to store; rounded up to whole rollouts of all M. They are
            the same on each device.
        batch_size: B, over all devices.
        real_fraction: from 0 to 1.

    Raises UsageError for counts that do not fit.

    Source: Janner et al. 2019, algorithm 2, https://arxiv.org/abs/1906.08253.
    """
    check_positive(num_rollouts=num_rollouts, rollout_length=rollout_length)
    check_positive(model_buffer_size=model_buffer_size)
    check_at_most("num_rollouts", num_rollouts, "batch_size", batch_size)
    check_at_most("batch_size", batch_size, "model_buffer_size", model_buffer_size)
    if not 0 <= real_fraction <= 1:
        raise UsageError(f"real_fraction must lie from 0 to 1, not be {real_fraction}")

    def replay() -> Replay:
        # Of buffers in general, each device has its own part; of this one, all of it.
        return uniform(model_buffer_size * collectives.count(), batch_size)

    def rollouts(params: Params, begin: Obs, key: Key) -> Transition:
        """Imagined steps [T, M] from observations [M, F]."""

        def step(obs: Obs, key: Key):
            key_act, key_imagine = jax.random.split(key)
            action, _, _ = policy(params, obs, (), key_act)
            reward, end, next_obs = model.imagine(params["model"], obs, action, key_imagine)
            made = Transition(obs, action, reward, end, jnp.zeros_like(end), next_obs, Extras())
            return jnp.where(end[:, None], begin, next_obs), made

        return jax.lax.scan(step, begin, jax.random.split(key, rollout_length))[1]

    def init(params: Params, key: Key) -> UpdateState:
        begin = jnp.zeros((num_rollouts, *model.space.shape))
        return replay().init(jax.eval_shape(rollouts, params, begin, key))

    def apply(params: Params, stored: UpdateState, batch: Batch, key: Key):
        key_imagine, key_sample = jax.random.split(key)
        begin = batch.obs[0, : collectives.share("num_rollouts", num_rollouts)]
        imagined = rollouts(params, begin, collectives.fold_in(key_imagine))
        stored = replay().add(stored, collectives.environments(imagined))
        sample = replay().sample(stored, collectives.fold_in(key_sample))
        real = round(real_fraction * batch.reward.shape[1])
        mixed = jax.tree.map(
            lambda x, y: jnp.concatenate([x[:1, :real], y[:, real:]], axis=1),
            *(replace(x, extras=Extras()) for x in (batch, sample)),
        )
        metrics = {
            "charts/imagined_reward": jnp.mean(imagined.reward),
            "charts/imagined_ends": jnp.mean(imagined.terminated),
        }
        return params, stored, mixed, collectives.pmean(metrics)

    return Update(init, apply)
