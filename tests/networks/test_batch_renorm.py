"""Layers that are normalised over batches, next to their definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.networks.layers import MLP, BatchRenorm

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(2.0, 3.0, (4, 5, 3))
RUNNING = {"mean": np.array([1.0, 0.0, 40.0]), "variance": np.array([4.0, 1.0, 0.01])}


def variables(count: float):
    fresh = BatchRenorm().init(KEY, jnp.ones((1, 3)))
    running = {name: jnp.asarray(x, jnp.float32) for name, x in RUNNING.items()}
    learnt = {"scale": jnp.array([1.0, 2.0, 1.0]), "bias": jnp.array([0.0, 0.0, 0.5])}
    assert set(fresh["params"]) == set(learnt)
    return {"params": learnt, "batch_statistics": {**running, "count": jnp.float32(count)}}


def scaled(x):
    return x * [1.0, 2.0, 1.0] + [0.0, 0.0, 0.5]


@pytest.mark.parametrize("warm", [False, True])
def test_in_a_loss_a_batch_is_normalised_by_itself_and_the_running_statistics_move(warm):
    given = variables(100.0 if warm else 99.0)
    layer = BatchRenorm(warmup=100)
    found, moved = layer.apply(given, jnp.asarray(X, jnp.float32), mutable=["batch_statistics"])
    mean, variance = X.mean((0, 1)), X.var((0, 1))
    spread, running = np.sqrt(variance + 1e-3), np.sqrt(RUNNING["variance"] + 1e-3)
    expected = (X - mean) / spread
    if warm:
        factor = np.clip(spread / running, 1 / 3, 3)
        shift = np.clip((mean - RUNNING["mean"]) / running, -5, 5)
        assert {1 / 3, 3.0, 5.0, -5.0} & {*factor, *shift}, "no bound is tested"
        expected = expected * factor + shift
    np.testing.assert_allclose(found, scaled(expected), rtol=1e-4, atol=1e-4)
    statistics = moved["batch_statistics"]
    for name, x in (("mean", mean), ("variance", variance)):
        np.testing.assert_allclose(statistics[name], 0.99 * RUNNING[name] + 0.01 * x, rtol=1e-5)
    assert statistics["count"] == given["batch_statistics"]["count"] + 1


def test_elsewhere_the_running_statistics_normalise():
    found = BatchRenorm().apply(variables(1e6), jnp.asarray(X, jnp.float32))
    expected = (X - RUNNING["mean"]) / np.sqrt(RUNNING["variance"] + 1e-3)
    np.testing.assert_allclose(found, scaled(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_an_mlp_normalises_its_input_and_what_each_layer_gives():
    shapes = MLP((7, 6), jax.nn.relu, batch_norm=True).init(KEY, jnp.ones((1, 3)))
    sizes = [x["mean"].size for _, x in sorted(shapes["batch_statistics"].items())]
    assert sizes == [3, 7, 6]
    assert all((x["count"] == 0) for x in shapes["batch_statistics"].values())
