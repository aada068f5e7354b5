"""An ensemble of networks, each of which says what a step in an environment leads to."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rljax.envs import spaces
from rljax.envs.agents import check_groups
from rljax.errors import UsageError, check_positive
from rljax.networks.encoding import read, read_action
from rljax.networks.modules import EmbeddingModule
from rljax.networks.network import with_one_axis
from rljax.networks.normalization import RunningStatistics, fresh_statistics, standardized
from rljax.types import Action, Batch, Environment, HasActionMask, Key, Obs, Params

LOG_VARIANCES = (-10.0, 0.5)
"""The bounds of log-variances before they are learnt: those of Chua et al."""


class Prediction(NamedTuple):
    """What E members say of steps [...]: Gaussians over standardised outcomes, and ends."""

    mean: jax.Array  # [E, ..., F + 1], of the change of F observed numbers, and of the reward
    log_variance: jax.Array  # [E, ..., F + 1]
    end: jax.Array  # [E, ...], the logit of whether the task ends there


class EnsembleModel(NamedTuple):
    """E models of an environment. Parameters are "members", "bounds" and "statistics".

    The leaves of members lead with E. All share the bounds of log-variances, two [F + 1], which
    are learnt, and the statistics: "inputs" [F + A], of what members read, and "outcomes" [F + 1],
    of what they predict.
    """

    init: Callable[[Key], Params]
    predict: Callable[[Params, Obs, Action], Prediction]
    """(params, observations [..., F], actions [...]) to what each member says."""
    features: Callable[[Batch], dict[str, jax.Array]]
    """A batch [T, N] to what the statistics are of: "inputs" and "outcomes"."""
    imagine: Callable[[Params, Obs, Action, Key], tuple[jax.Array, jax.Array, Obs]]
    """(params, observations [N, F], actions [N], key) to rewards [N], whether the task ended [N],
    and next observations [N, F].

    For each of N, one member is asked, all equally likely, and what it says is sampled. A task ends
    where that is likelier than not.
    """
    num_members: int
    space: spaces.Box  # of observations


def ensemble_model(
    env: Environment,
    num_members: int = 7,
    hidden: Sequence[int] = (200, 200, 200, 200),
    activation: str = "silu",
    agent: str = "this agent",
) -> EnsembleModel:
    """An ensemble of probabilistic networks for an environment whose observations are numbers.

    A member reads an observation, standardised, and an action. It gives the mean and the variance
    of the change to the next observation, and of the reward, both standardised by running
    statistics. Log-variances stay softly within bounds. Imagined observations stay within the
    bounds of their space.

    Args:
        env: its observations are a Box of one axis of floats. Without a mask of actions, which
            nothing here predicts.
        num_members: E. They are alike, and begin with weights of their own.
        hidden: sizes of the dense layers of each.
        activation: one of tanh, relu, elu, gelu, silu.
        agent: who asks, for error messages.

    Raises UsageError for a space, size or activation that does not fit, in one sentence.

    Source: Chua et al. 2018, section 4 and appendix A.1 (the bounds),
    https://arxiv.org/abs/1805.12114; Janner et al. 2019, appendix C,
    https://arxiv.org/abs/1906.08253. There, outcomes are not standardised, and the task's own rule
    says where it ends.
    """
    check_groups(env, None, agent)
    check_positive(num_models=num_members)
    space, actions = env.observation_space, env.action_space
    if isinstance(env, HasActionMask):
        raise UsageError(
            f"{agent} cannot imagine which actions are legal, and {env.name} has a mask of them: "
            "use sac"
        )
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or space.dtype != jnp.float32:
        raise UsageError(
            f"{agent} imagines observations that are a Box of one axis of float32, not "
            f"{spaces.describe(space)}: use sac"
        )
    reader = read(space, "mlp", hidden, activation, agent)
    size = space.shape[0]
    module = EmbeddingModule(reader.torso, 2 * (size + 1) + 1)

    def inputs(obs: Obs, action: Action) -> jax.Array:
        return jnp.concatenate([reader.encode(obs), read_action(actions, action)], axis=-1)

    def features(batch: Batch) -> dict[str, jax.Array]:
        change = batch.next_obs - batch.obs
        outcomes = jnp.concatenate([change, batch.reward[..., None]], axis=-1)
        return {"inputs": inputs(batch.obs, batch.action), "outcomes": outcomes}

    example = inputs(jnp.zeros(space.shape), jnp.zeros(actions.shape, actions.dtype))
    shapes = {"inputs": example, "outcomes": jnp.zeros(size + 1)}

    def init(key: Key) -> Params:
        def member(key: Key) -> Params:
            return module.init(key, example[None])

        least, most = (jnp.full(size + 1, bound, jnp.float32) for bound in LOG_VARIANCES)
        return {
            "members": jax.vmap(member)(jax.random.split(key, num_members)),
            "bounds": {"least": least, "most": most},
            "statistics": fresh_statistics(shapes),
        }

    def predict(params: Params, obs: Obs, action: Action) -> Prediction:
        seen = standardized(params["statistics"]["inputs"], inputs(obs, action))

        def of_member(member: Params) -> jax.Array:
            return with_one_axis(partial(module.apply, member), 1, seen)

        mean, free, end = jnp.split(
            jax.vmap(of_member)(params["members"]), [size + 1, 2 * (size + 1)], axis=-1
        )
        return Prediction(mean, softly_bounded(free, **params["bounds"]), end[..., 0])

    def imagine(params: Params, obs: Obs, action: Action, key: Key):
        key_member, key_noise = jax.random.split(key)
        member = jax.random.randint(key_member, (len(obs),), 0, num_members)
        predicted = predict(params, obs, action)
        mean, log_variance, end = (x[member, jnp.arange(len(obs))] for x in predicted)
        noise = jnp.exp(0.5 * log_variance) * jax.random.normal(key_noise, mean.shape)
        outcome = unstandardized(params["statistics"]["outcomes"], mean + noise)
        next_obs = jnp.clip(obs + outcome[:, :-1], space.low, space.high)
        return outcome[:, -1], end > 0, next_obs

    return EnsembleModel(init, predict, features, imagine, num_members, space)


def softly_bounded(x: jax.Array, least: Any, most: Any) -> jax.Array:
    """Numbers [..., F] that stay between bounds [F], with a gradient that never vanishes quite.

    Source: Chua et al. 2018, appendix A.1, https://arxiv.org/abs/1805.12114.
    """
    x = most - jax.nn.softplus(most - x)
    return least + jax.nn.softplus(x - least)


def unstandardized(statistics: RunningStatistics, features: jax.Array) -> jax.Array:
    """The reverse of `standardized`, but for its clip."""
    return features * jnp.sqrt(statistics.variance + 1e-8) + statistics.mean
