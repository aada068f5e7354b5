from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from rljax import ops

KEY = jax.random.key(0)
Q = jnp.array([[1.0, 3.0, 2.0], [5.0, -1.0, 5.0], [0.0, 0.0, 0.0]])
GREEDY = np.array([[0, 1, 0], [1 / 2, 0, 1 / 2], [1 / 3, 1 / 3, 1 / 3]])


def test_greedy_shares_ties_equally():
    np.testing.assert_allclose(ops.greedy(Q), GREEDY, rtol=1e-6)
    np.testing.assert_allclose(ops.greedy(Q[0]), GREEDY[0])


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_is_spread_over_all_actions(epsilon):
    got = jax.jit(ops.epsilon_greedy)(Q, epsilon)
    np.testing.assert_allclose(got, (1 - epsilon) * GREEDY + epsilon / 3, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 10.0])
def test_boltzmann_is_a_softmax(temperature):
    got = jax.jit(ops.boltzmann)(Q, temperature)
    expected = special.softmax(np.float64(Q) / temperature, axis=-1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("envs", [1, 2, 5])
def test_fixed_epsilons_are_those_of_the_paper(envs):
    got = jax.jit(ops.fixed_epsilons, static_argnums=3)(0.4, 7.0, jnp.arange(envs), envs)
    by_hand = {
        1: [0.4],
        2: [0.4, 0.4**8],
        5: [0.4, 0.4**2.75, 0.4**4.5, 0.4**6.25, 0.4**8],
    }
    np.testing.assert_allclose(got, by_hand[envs], rtol=1e-5)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_probabilities_equal_rlax(rlax):
    for ours, theirs in [
        (ops.greedy(Q), rlax.greedy().probs(Q)),
        (ops.epsilon_greedy(Q, 0.3), rlax.epsilon_greedy(0.3).probs(Q)),
        (ops.boltzmann(Q, 0.5), rlax.softmax(0.5).probs(Q)),
    ]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "probabilities", [[1.0], [0.7, 0.3], [0.25, 0.0, 0.5, 0.25], np.full(18, 1 / 18)]
)
def test_samples_follow_the_probabilities(probabilities):
    count = 50_000
    probabilities = np.asarray(probabilities)
    shape = (100, count // 100, len(probabilities))
    rows = jnp.broadcast_to(jnp.float32(probabilities), shape)
    actions = np.asarray(jax.jit(ops.sample)(rows, KEY))
    assert actions.shape == shape[:2]
    assert actions.dtype == np.int32
    found = np.bincount(actions.ravel(), minlength=len(probabilities))
    possible = probabilities > 0
    assert found[~possible].sum() == 0
    if possible.sum() > 1:
        expected = probabilities[possible] * count
        assert stats.chisquare(found[possible], expected).pvalue > 1e-3


def test_rows_are_sampled_apart():
    actions = np.asarray(ops.sample(jnp.full((2, 1000, 2), 0.5), KEY))
    assert 0.4 < np.mean(actions[0] == actions[1]) < 0.6


@pytest.mark.parametrize("size", [2, 7, 18, 50])
@pytest.mark.parametrize("uniform", [0.0, 0.5, float(np.nextafter(np.float32(1), 0))])
def test_the_impossible_is_never_drawn(size, uniform, monkeypatch):
    rng = np.random.default_rng(0)
    weights = rng.random((20_000, size)) * (rng.random((20_000, size)) < 0.5)
    weights[:, rng.integers(size)] += 1e-3
    probabilities = np.float32(weights / weights.sum(-1, keepdims=True))
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, uniform))
    # Sums of a tree, as accelerators make them, are not those of a loop: they may even decrease.
    monkeypatch.setattr(jnp, "cumsum", partial(jax.lax.associative_scan, jnp.add))
    actions = np.asarray(ops.sample(jnp.asarray(probabilities), KEY))
    assert np.take_along_axis(probabilities, actions[:, None], -1).min() > 0


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_places_are_drawn_from_sums_that_are_there_already(dtype):
    sums = jnp.asarray(np.cumsum([0, 3, 0, 2, 1, 0]).astype(dtype))
    numbers = jnp.float32([0.0, 0.49, 0.51, 0.83, 0.84, np.nextafter(np.float32(1), 0)])
    places = jax.jit(lambda numbers: ops.first_reached(lambda i: sums[i], 6, numbers))(numbers)
    np.testing.assert_array_equal(places, [1, 1, 3, 3, 4, 4])
    assert places.dtype == np.int32


@pytest.mark.parametrize("size", range(1, 10))
def test_places_of_any_number_of_weights_are_those_of_a_search(size):
    rng = np.random.default_rng(size)
    sums = np.cumsum(rng.integers(3, size=size))
    numbers = rng.random(200).astype(np.float32)
    places = ops.first_reached(lambda i: jnp.asarray(sums)[i], size, jnp.asarray(numbers))
    expected = np.searchsorted(sums, numbers * np.float32(sums[-1]), side="right")
    np.testing.assert_array_equal(places, np.minimum(expected, size - 1))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.5])
def test_zeta_numbers_are_as_rare_as_their_power(exponent):
    largest, shape = 6, (10, 5_000)
    numbers = np.asarray(
        jax.jit(ops.sample_zeta, static_argnums=(1, 2))(exponent, largest, shape, KEY)
    )
    assert numbers.shape == shape
    assert numbers.dtype == np.int32
    found = np.bincount(numbers.ravel(), minlength=largest + 1)
    expected = stats.zipfian.pmf(np.arange(1, largest + 1), exponent, largest) * numbers.size
    assert found[0] == 0 and stats.chisquare(found[1:], expected).pvalue > 1e-3


@pytest.mark.parametrize("exponent", [0.0, 1.01, 2.0])
@pytest.mark.parametrize("uniform", [0.0, float(np.nextafter(np.float32(1), 0))])
def test_zeta_numbers_stay_in_their_range(uniform, exponent, monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, uniform))
    for largest in (1, 7, 1000):
        assert ops.sample_zeta(exponent, largest, (), KEY) == (largest if uniform else 1)


@pytest.mark.parametrize(
    "fraction, over, expected",
    [(0.0, 0.5, 1.0), (0.25, 0.5, 0.525), (0.5, 0.5, 0.05), (0.9, 0.5, 0.05), (0.0, 0.0, 0.05)],
)
def test_a_schedule_is_a_line_and_then_flat(fraction, over, expected):
    got = jax.jit(ops.linear_schedule)(1.0, 0.05, fraction, over)
    np.testing.assert_allclose(got, np.float32(expected), rtol=1e-6)


def test_a_schedule_ends_exactly():
    assert ops.linear_schedule(1.0, 0.05, 0.7, 0.5) == np.float32(0.05)
    assert ops.linear_schedule(0.3, 0.05, 0.0, 0.5) == np.float32(0.3)
