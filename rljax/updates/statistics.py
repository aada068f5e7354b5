"""Running statistics as updates."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax import devices
from rljax.networks.network import RunningStatistics
from rljax.types import Batch, Key, Obs, Params, Update, UpdateState


def merge(statistics: RunningStatistics, features: jax.Array) -> RunningStatistics:
    """Statistics with a batch of features [..., F] added.

    Source: Chan, Golub and LeVeque 1983, eq. 2.1, https://doi.org/10.1080/00031305.1983.10483115.
    """
    axes = tuple(range(features.ndim - statistics.mean.ndim))
    size = jnp.float32(features.size / statistics.mean.size * devices.count())
    count = statistics.count + size
    mean = devices.mean(jnp.mean(features, axes))
    variance = devices.mean(jnp.mean(jnp.square(features - mean), axes))
    difference = mean - statistics.mean
    weight = size / count
    return RunningStatistics(
        mean=statistics.mean + difference * weight,
        variance=(
            (1 - weight) * statistics.variance
            + weight * variance
            + weight * (1 - weight) * jnp.square(difference)
        ),
        count=count,
    )


def observation_statistics(encode: Callable[[Obs], jax.Array]) -> Update:
    """Add the batch's observations to `params["statistics"]` of a normalised network.

    Put it last: everything before it then sees the statistics that the rollout used. Reads obs.
    """

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        statistics = merge(params["statistics"], encode(batch.obs))
        return {**params, "statistics": statistics}, state, batch, {}

    return Update(lambda params, key: (), apply)
