"""Running statistics of features, in front of a network."""

import jax
import jax.numpy as jnp
from flax import struct

from rljax.networks.network import Network, on_inputs
from rljax.types import Key, Params


@struct.dataclass
class RunningStatistics:
    """Mean and variance of each feature, over all experience so far; not trained by gradients."""

    mean: jax.Array  # [F...]
    variance: jax.Array  # [F...]
    count: jax.Array  # [] float32


def fresh_statistics(shape: tuple[int, ...]) -> RunningStatistics:
    """Those of no experience: features of this shape stay as they are."""
    return RunningStatistics(jnp.zeros(shape), jnp.ones(shape), jnp.float32(0))


def standardized(statistics: RunningStatistics, features: jax.Array) -> jax.Array:
    """Features [..., F...] of running mean 0 and variance 1, clipped to [-10, 10].

    No gradient reaches the statistics.
    """
    statistics = jax.lax.stop_gradient(statistics)
    scale = jax.lax.rsqrt(statistics.variance + 1e-8)
    return jnp.clip((features - statistics.mean) * scale, -10.0, 10.0)


def normalized(inner: Network, shape: tuple[int, ...]) -> Network:
    """`inner` on features of running mean 0 and variance 1, clipped to [-10, 10].

    The statistics live in the parameters, so that rollout, loss, evaluation and checkpoint all use
    the one snapshot; `updates.observation_statistics` moves them and gradients never do.
    """

    def init(key: Key) -> Params:
        return {"network": inner.init(key), "statistics": fresh_statistics(shape)}

    def prepare(params: Params, features: jax.Array):
        return params["network"], standardized(params["statistics"], features)

    return on_inputs(inner, prepare)._replace(init=init)
