"""Weights and inputs of layers on a grid of few levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import networks
from rljax.envs import spaces
from rljax.errors import UsageError

SPACE = spaces.Box(-1.0, 1.0, (5,))
KERNEL = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
OBS = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)


def on_grid(x, axis, bits, largest=None):
    most = 2 ** (bits - 1) - 1
    largest = np.abs(x).max(axis, keepdims=True) if largest is None else np.float32(largest)
    scale = largest / np.float32(most)
    return np.clip(np.round(x / scale), -most, most) * scale


def linear():
    """A network of one product and a bias, as functions of one's own."""

    def apply(params, obs, carry, key):
        with_call = jax.jit(lambda x, w: x @ w)  # A product inside a call is a product, too.
        return with_call(obs, params["kernel"]) + params["bias"], carry

    params = {"kernel": jnp.asarray(KERNEL), "bias": jnp.full(3, 0.3)}
    return networks.Network(lambda key: params, apply), params


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_on_the_grid_of_their_channel(bits):
    net, params = linear()
    found = networks.quantized_weights(params, bits)
    expected = on_grid(KERNEL, 0, bits)
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-6)
    assert len(np.unique(found["kernel"][:, 0])) <= 2**bits - 1
    np.testing.assert_array_equal(found["bias"], params["bias"])
    outputs, _ = networks.quantized(net, bits).apply(params, OBS, (), None)
    np.testing.assert_allclose(outputs, OBS @ expected + 0.3, rtol=1e-5, atol=1e-5)
    again = networks.quantized_weights(found, bits)
    np.testing.assert_allclose(again["kernel"], found["kernel"], rtol=1e-6)


def test_channels_are_of_outputs_also_of_four_axes_and_of_ensembles():
    kernel = np.random.default_rng(2).normal(size=(2, 2, 3, 4)).astype(np.float32)
    found = networks.quantized_weights({"kernel": kernel}, 4)["kernel"]
    np.testing.assert_allclose(found, on_grid(kernel, (0, 1, 2), 4), rtol=1e-6)
    found = networks.quantized_weights({"kernel": kernel[0]}, 4)["kernel"]
    np.testing.assert_allclose(found, on_grid(kernel[0], 1, 4), rtol=1e-6)
    zeros = networks.quantized_weights({"kernel": jnp.zeros((2, 2))}, 4)["kernel"]
    np.testing.assert_array_equal(zeros, 0)


def test_inputs_are_on_the_grid_of_what_was_seen_and_clipped_there():
    net, params = linear()
    ranges = networks.activation_ranges(net, params, jnp.asarray(OBS))
    np.testing.assert_allclose(ranges, [np.abs(OBS).max()])
    narrow = networks.quantized(net, 8, 4, ranges / 2)
    outputs, _ = narrow.apply(params, OBS, (), None)
    clipped = on_grid(OBS, None, 4, np.abs(OBS).max() / 2)
    np.testing.assert_allclose(outputs, clipped @ on_grid(KERNEL, 0, 8) + 0.3, rtol=1e-5, atol=1e-5)
    by_batch, _ = networks.quantized(net, 8, 4).apply(params, OBS, (), None)
    dynamic = on_grid(OBS, None, 4, np.abs(OBS).max())
    np.testing.assert_allclose(by_batch, dynamic @ on_grid(KERNEL, 0, 8) + 0.3, 1e-5, 1e-5)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_each_product_of_a_network_has_its_range(kind):
    head = networks.head(spaces.Discrete(2))
    net = networks.actor_critic_network(SPACE, head, kind, hidden=(8,))
    params, carry = net.init(jax.random.key(0)), net.initial_carry((7,))
    ranges = networks.activation_ranges(net, params, jnp.asarray(OBS), carry)
    assert len(ranges) == {"mlp": 4, "gru": 5}[kind]
    found = networks.quantized(net, 8, 8, ranges).apply(params, OBS, carry, None)
    exact = net.apply(params, OBS, carry, None)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert 0 < np.abs(x - y).max() < 0.05


def test_gradients_pass_the_rounding():
    net, params = linear()

    def loss(params, bits):
        outputs, _ = networks.quantized(net, bits, 8).apply(params, OBS, (), None)
        return jnp.sum(outputs)

    grads = jax.grad(loss)(params, 2)
    exact = on_grid(OBS, None, 8, np.abs(OBS).max()).sum(0)[:, None] * np.ones((1, 3))
    np.testing.assert_allclose(grads["kernel"], exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_computes_in_it_and_gives_float32(dtype):
    net, params = linear()
    seen = []

    def apply(params, obs, carry, key):
        seen.append((params["kernel"].dtype, obs.dtype))
        return net.apply(params, obs, carry, key)

    half = networks.in_precision(net._replace(apply=apply), dtype)
    outputs, _ = half.apply(params, jnp.asarray(OBS), (), None)
    assert outputs.dtype == jnp.float32 and {str(d) for d in seen[0]} == {dtype}
    error = np.abs(outputs - (OBS @ KERNEL + 0.3)).max()
    assert 0 < error < (0.1 if dtype == "bfloat16" else 0.02)


@pytest.mark.parametrize("bits", [1, 17, 8.0, True])
def test_bits_are_a_whole_number_from_2_to_16(bits):
    net, _ = linear()
    with pytest.raises(UsageError, match="from 2 to 16"):
        networks.quantized(net, bits)
    with pytest.raises(UsageError, match="from 2 to 16"):
        networks.quantized(net, 8, bits)
