"""Memories are the cells that their papers describe, as flax has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rljax.networks import memory
from rljax.networks.attention import GTrXL

KEY, B, F, H = jax.random.key(0), 3, 5, 4


def fields(params):
    """The weights of a memory, by gate: input kernels, input biases, recurrent kernels."""
    params = jax.tree.map(np.asarray, params["params"])
    size = params["recurrent"].shape[0]
    gates = params["recurrent"].shape[1] // size
    parts = params["input"]["kernel"], params["input"]["bias"], params["recurrent"]
    return [np.split(x, gates, axis=-1) for x in parts]


def randomized(params):
    """Weights whose biases are not 0."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))
    new = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, new)


def test_a_gru_is_flax_s():
    mine, theirs = memory.GRU(H), nn.GRUCell(H)
    x, carry = jax.random.normal(KEY, (B, F)), jax.random.normal(KEY, (B, H))
    params = randomized(mine.init(KEY, x, carry))
    kernels, biases, recurrent = fields(params)
    weights = {
        **{
            f"i{g}": {"kernel": k, "bias": b}
            for g, k, b in zip("rzn", kernels, biases, strict=True)
        },
        **{f"h{g}": {"kernel": k} for g, k in zip("rzn", recurrent, strict=True)},
    }
    weights["hn"]["bias"] = params["params"]["bias"]
    expected, _ = theirs.apply({"params": weights}, carry, x)
    got, after = mine.apply(params, x, carry)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got, after)


def test_an_lstm_is_flax_s():
    mine, theirs = memory.LSTM(H), nn.LSTMCell(H)
    x, carry = jax.random.normal(KEY, (B, F)), jax.random.normal(KEY, (B, 2 * H))
    params = randomized(mine.init(KEY, x, carry))
    kernels, biases, recurrent = fields(params)
    # Here the input has the biases, and there the recurrent part.
    weights = {
        **{f"i{g}": {"kernel": k} for g, k in zip("ifgo", kernels, strict=True)},
        **{
            f"h{g}": {"kernel": k, "bias": b}
            for g, k, b in zip("ifgo", recurrent, biases, strict=True)
        },
    }
    (cell, hidden), expected = theirs.apply({"params": weights}, (carry[:, :H], carry[:, H:]), x)
    got, after = mine.apply(params, x, carry)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after, jnp.concatenate([cell, hidden], -1), rtol=1e-5, atol=1e-6)


def test_the_carry_of_a_min_gru_is_a_mean_weighted_by_gates_of_the_input():
    mine = memory.MinGRU(H)
    x, carry = np.random.default_rng(0).normal(size=(B, F)), np.float32([[1, -1, 0, 2]] * B)
    params = randomized(mine.init(KEY, jnp.float32(x), carry))
    weights = jax.tree.map(np.float64, params["params"]["input"])
    gate, new = np.split(x @ weights["kernel"] + weights["bias"], 2, axis=-1)
    write = 1 / (1 + np.exp(-gate))
    features, after = mine.apply(params, jnp.float32(x), carry)
    np.testing.assert_allclose(after, (1 - write) * carry + write * new, rtol=1e-4, atol=1e-5)
    assert features.shape == (B, H)


def gate(weights, x, update):
    """A gate of GTrXL by the paper's equations, in float64."""
    *update_parts, new = np.split(affine(weights["update"], update), 3, axis=-1)
    x_parts = np.split(affine(weights["present"], x), 2, axis=-1)
    reset, write = (
        1 / (1 + np.exp(-(u + v - b)))
        for u, v, b in zip(update_parts, x_parts, (0, 2), strict=True)
    )
    new = np.tanh(new + affine(weights["reset"], reset * x))
    return (1 - write) * x + write * new


def affine(weights, x):
    return x @ weights["kernel"] + weights["bias"]


def normal(weights, x):
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return centred / deviation * weights["scale"] + weights["bias"]


def test_a_gtrxl_reads_the_steps_of_its_window_as_the_paper_says():
    """Step by step in float64, of one row, with a list of the steps that there were."""
    size, window, heads, length = 4, 3, 2, 6
    module = GTrXL(size, window, heads)
    x = jax.random.normal(KEY, (length, 1, F))
    carry = jnp.zeros((1, module.carry_size))
    params = randomized(module.init(KEY, x[0], carry))
    weights = jax.tree.map(np.float64, params["params"])
    steps = []
    for t in range(length):
        steps.append(np.maximum(affine(weights["embedding"], np.float64(x[t, 0])), 0))
        tokens = normal(weights["before_attention"], np.stack(steps[-window - 1 :]))
        query = tokens[-1] @ weights["query"]
        keys, values = (tokens @ weights[name] for name in ("key", "value"))
        read = []
        for head, part in enumerate(np.split(np.arange(size), heads)):
            bias = weights["distance"][head][: len(tokens)][::-1]
            scores = keys[:, part] @ query[part] / np.sqrt(size // heads) + bias
            read.append(np.exp(scores) / np.exp(scores).sum() @ values[:, part])
        read = affine(weights["read"], np.concatenate(read))
        y = gate(weights["attention_gate"], steps[-1], np.maximum(read, 0))
        hidden = np.maximum(affine(weights["hidden"], normal(weights["before_hidden"], y)), 0)
        expected = gate(weights["output_gate"], y, np.maximum(affine(weights["output"], hidden), 0))
        got, carry = module.apply(params, x[t], carry)
        np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-5)
        assert list(carry[0, -window:]) == [float(t >= place) for place in (2, 1, 0)]
    np.testing.assert_allclose(carry[0, :-window].reshape(window, size), steps[-window:], rtol=1e-5)


def test_a_step_of_a_gtrxl_reads_itself_and_a_window_before_it_within_its_episode():
    window, length, end = 3, 8, 5
    module = GTrXL(H, window, heads=2)
    x, done = jax.random.normal(KEY, (length, 1, F)), jnp.zeros((length, 1), bool).at[end].set(True)
    carry = jnp.zeros((1, module.carry_size))
    params = randomized(module.init(KEY, x[0], carry))
    slopes = jax.jacobian(lambda x: module.apply(params, x, carry, done)[0].sum((1, 2)))(x)
    t, s = np.mgrid[:length, :length]
    reads = (s <= t) & (t - s <= window) & ((s <= end) == (t <= end))
    np.testing.assert_array_equal(np.abs(slopes).sum((2, 3)) > 0, reads)


def test_no_gradient_of_a_gtrxl_reaches_what_was_carried():
    module = GTrXL(H, window=2, heads=2)
    x = jnp.ones((B, F))
    carry, other = jnp.abs(jax.random.normal(KEY, (2, B, module.carry_size)))
    params = randomized(module.init(KEY, x, carry))
    slopes = jax.grad(lambda c: jnp.sum(module.apply(params, x, c)[0]))(carry)
    assert not np.any(slopes)
    assert np.any(module.apply(params, x, other)[0] != module.apply(params, x, carry)[0])


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_the_gradient_of_a_sequence_is_that_of_its_steps(kind):
    length, module = 4, memory.MEMORIES[kind](H)
    x = jax.random.normal(KEY, (length, B, F))
    start = jax.random.normal(KEY, (B, module.carry_size))
    done = jnp.zeros((length, B), bool).at[1, 0].set(True).at[3].set(True)
    weight = jax.random.normal(jax.random.key(1), (length, B, H + module.carry_size))

    def at_once(params, x, carry):
        return jnp.concatenate(module.apply(params, x, carry, done), axis=-1)

    def by_steps(params, x, carry):
        made = []
        for t in range(length):
            given, carry = module.apply(params, x[t], carry)
            made.append(jnp.concatenate([given, carry], axis=-1))
            carry = jnp.where(done[t][:, None], 0.0, carry)
        return jnp.stack(made)

    params = randomized(module.init(KEY, x[0], start))
    got, expected = (
        jax.jit(jax.grad(lambda *a, f=f: jnp.sum(f(*a) * weight), (0, 1, 2)))(params, x, start)
        for f in (at_once, by_steps)
    )
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-5), got, expected)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_an_unroll_with_a_gradient_and_one_without_are_one_loop(kind):
    module = memory.MEMORIES[kind](H)
    x, start = jnp.ones((6, B, F)), jnp.zeros((B, module.carry_size))
    done = jnp.zeros((6, B), bool)
    params = module.init(KEY, x[0], start)

    def loss(params, target):
        return jnp.sum((module.apply(params, x, start, done)[0] - target) ** 2)

    def with_target(params):
        return jax.grad(loss)(params, 0.9 * module.apply(params, x, start, done)[0])

    compiled = jax.jit(with_target).lower(params).compile().as_text()
    assert compiled.count(" while(") == 2  # one forwards, one backwards


@pytest.mark.parametrize("kind", ["gru", "lstm", "min_gru"])
def test_each_gate_begins_with_orthogonal_weights(kind):
    module = memory.MEMORIES[kind](H)
    carry = jnp.zeros((B, module.carry_size))
    params = module.init(KEY, jnp.zeros((B, F)), carry)["params"]
    for gate in np.split(params["input"]["kernel"], params["input"]["kernel"].shape[1] // H, 1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(H), atol=1e-4)
