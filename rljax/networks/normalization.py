"""Running statistics of features, in front of a network."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from rljax.networks.network import Features, Network, on_inputs
from rljax.types import Carry, Key, Obs, Params


@struct.dataclass
class RunningStatistics:
    """Mean and variance of each feature, over all experience so far; not trained by gradients."""

    mean: jax.Array  # [F...]
    variance: jax.Array  # [F...]
    count: jax.Array  # [] float32


Statistics = Any
"""`RunningStatistics`, of features with names by these names."""


def fresh_statistics(shapes: Any) -> Statistics:
    """Those of no experience: features of these shapes stay as they are."""

    def fresh(x: Any) -> RunningStatistics:
        return RunningStatistics(jnp.zeros(x.shape), jnp.ones(x.shape), jnp.float32(0))

    return jax.tree.map(fresh, shapes)


def standardized(statistics: Statistics, features: Features) -> Features:
    """Features [..., F...] of running mean 0 and variance 1, clipped to [-10, 10].

    No gradient reaches the statistics.
    """
    if isinstance(features, dict):
        return {name: standardized(statistics[name], part) for name, part in features.items()}
    statistics = jax.lax.stop_gradient(statistics)
    scale = jax.lax.rsqrt(statistics.variance + 1e-8)
    return jnp.clip((features - statistics.mean) * scale, -10.0, 10.0)


def with_normalized_values(inner: Network) -> Network:
    """`inner`, an actor-critic, whose values have the mean and the variance of past targets.

    What the network itself learns are standard values. The statistics are the part "targets" of the
    parameters, beside "network"; `updates.target_statistics` moves them and gradients never do.

    Source: Yu et al. 2022, section 5.1, https://arxiv.org/abs/2103.01955.
    """

    def init(key: Key) -> Params:
        return {"network": inner.init(key), "targets": fresh_statistics(jnp.zeros(()))}

    def scaled(params: Params, outputs: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        targets = jax.lax.stop_gradient(params["targets"])
        return outputs[0], outputs[1] * jnp.sqrt(targets.variance) + targets.mean

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        outputs, carry = inner.apply(params["network"], obs, carry, key)
        return scaled(params, outputs), carry

    def unroll(params: Params, obs: Obs, carry: Carry, done: jax.Array, key: Key | None):
        assert inner.unroll is not None
        outputs, carries = inner.unroll(params["network"], obs, carry, done, key)
        return scaled(params, outputs), carries

    return inner._replace(init=init, apply=apply, unroll=unroll if inner.unroll else None)


def normalized(inner: Network, shapes: Any) -> Network:
    """`inner` on features of running mean 0 and variance 1, clipped to [-10, 10].

    The statistics live in the parameters, so that rollout, loss, evaluation and checkpoint all use
    the one snapshot; `updates.observation_statistics` moves them and gradients never do.

    `shapes` are those of one observation's features.
    """

    def init(key: Key) -> Params:
        return {"network": inner.init(key), "statistics": fresh_statistics(shapes)}

    def prepare(params: Params, features: Features):
        return params["network"], standardized(params["statistics"], features)

    return on_inputs(inner, prepare)._replace(init=init)
