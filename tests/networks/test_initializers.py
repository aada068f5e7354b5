import subprocess
import sys

import jax
import numpy as np
import pytest

from rljax.envs.spaces import Box, Discrete
from rljax.networks import actor_critic_network as network
from rljax.networks import head, orthogonal

draw = jax.jit(jax.vmap(orthogonal(), in_axes=(0, None)), static_argnums=1)


def keys(count):
    return jax.random.split(jax.random.key(0), count)


@pytest.mark.parametrize("shape", [(64, 64), (8, 40), (5, 1), (3, 3, 4, 16), (3, 3, 1, 32)])
def test_weights_are_orthonormal(shape):
    for weights in np.asarray(draw(keys(20), shape), np.float64):
        assert weights.shape == shape
        matrix = weights.reshape(-1, shape[-1])
        short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        assert np.abs(short @ short.T - np.eye(len(short))).max() < 1e-5
        np.testing.assert_allclose(np.linalg.svd(matrix)[1], 1, atol=1e-5)


@pytest.mark.parametrize("scale", [0.01, 2**0.5])
def test_scale_is_the_spectrum(scale):
    weights = orthogonal(scale)(jax.random.key(0), (6, 4))
    np.testing.assert_allclose(np.linalg.svd(weights)[1], scale, rtol=1e-5)


def test_square_weights_are_haar_distributed():
    count, n = 10_000, 4
    weights = np.asarray(draw(keys(count), (n, n)), np.float64)
    # Moments of an entry of a Haar orthogonal matrix, and of its trace; six standard errors each.
    for samples, expected in [
        (weights, 0.0),
        (weights**2, 1 / n),
        (weights**4, 3 / (n * (n + 2))),
        (np.linalg.det(weights), 0.0),
        (np.trace(weights, axis1=1, axis2=2) ** 2, 1.0),
        (weights[:, 0, 0] * weights[:, 1, 1], 0.0),
    ]:
        error = np.abs(samples.mean(axis=0) - expected)
        assert (error < 6 * samples.std(axis=0) / np.sqrt(count)).all()


def test_keys_give_different_weights():
    assert np.unique(draw(keys(20), (64, 64))[:, 0, 0]).size == 20


def initial_parameters(kind="mlp"):
    space = Box(-1, 1, (4,))
    net = network(space, head(Discrete(2)), kind, hidden=(64, 64))
    return jax.vmap(net.init)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_a_population_starts_without_lapack(kind):
    lowered = jax.jit(initial_parameters(kind)).lower(keys(3)).as_text()
    assert "custom_call" not in lowered
    assert "dot_general" in lowered


def test_a_population_of_300_starts_within_a_time_limit():
    program = (
        "import jax; from rljax.networks import actor_critic_network as network, head;"
        "from rljax.envs.spaces import Box, Discrete;"
        "net = network(Box(-1, 1, (4,)), head(Discrete(2)), 'mlp', hidden=(64, 64));"
        "keys = jax.random.split(jax.random.key(0), 300);"
        "print(*jax.block_until_ready(jax.jit(jax.vmap(net.init))(keys))['params'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=True
    )
    assert "value" in finished.stdout
