import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import ops

rng = np.random.default_rng(0)
LOG_RATIO, ADVANTAGE, VALUE, OLD, TARGET, KL = rng.normal(size=(6, 50)).astype(np.float32)
EPS = 0.2


def clipped_surrogate(log_ratio, advantage):
    ratio = np.exp(log_ratio)
    return -min(ratio * advantage, min(max(ratio, 1 - EPS), 1 + EPS) * advantage)


def clipped_value_loss(value, old, target):
    clipped = min(max(value, old - EPS), old + EPS)
    return max(0.5 * (value - target) ** 2, 0.5 * (clipped - target) ** 2)


@pytest.mark.parametrize(
    "function, inputs, scalar",
    [
        (lambda *x: ops.clipped_surrogate(*x, EPS), (LOG_RATIO, ADVANTAGE), clipped_surrogate),
        (
            lambda *x: ops.penalized_surrogate(*x, 3.0),
            (LOG_RATIO, ADVANTAGE, KL),
            lambda r, a, k: -(np.exp(r) * a - 3.0 * k),
        ),
        (ops.value_loss, (VALUE, TARGET), lambda v, t: 0.5 * (v - t) ** 2),
        (lambda *x: ops.clipped_value_loss(*x, EPS), (VALUE, OLD, TARGET), clipped_value_loss),
        (ops.approximate_kl, (LOG_RATIO,), lambda r: np.exp(r) - 1 - r),
    ],
    ids=["clipped_surrogate", "penalized", "value_loss", "clipped_value_loss", "approximate_kl"],
)
def test_equals_a_numpy_loop(function, inputs, scalar):
    expected = [scalar(*numbers) for numbers in zip(*np.float64(inputs), strict=True)]
    got = function(*(jnp.asarray(x.reshape(10, 5)) for x in inputs))
    np.testing.assert_allclose(np.ravel(got), expected, rtol=1e-5, atol=1e-6)


def test_clipped_surrogate_and_its_gradient_equal_rlax(rlax):
    def ours(log_ratio):
        return ops.clipped_surrogate(log_ratio, ADVANTAGE, EPS).mean()

    def theirs(log_ratio):
        return rlax.clipped_surrogate_pg_loss(jnp.exp(log_ratio), ADVANTAGE, EPS)

    for got, expected in zip(
        jax.value_and_grad(ours)(LOG_RATIO), jax.value_and_grad(theirs)(LOG_RATIO), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "ratio, advantage, moves",
    [(1.3, 1.0, False), (1.3, -1.0, True), (0.7, -1.0, False), (0.7, 1.0, True), (1.1, 1.0, True)],
)
def test_clipping_stops_the_gradient_only_where_it_would_go_further(ratio, advantage, moves):
    slope = jax.grad(ops.clipped_surrogate)(jnp.log(ratio), jnp.float32(advantage), EPS)
    np.testing.assert_allclose(slope, -ratio * advantage if moves else 0.0, rtol=1e-6)


@pytest.mark.parametrize(
    "coef, kl, expected",
    [
        (1.0, 0.0066, 0.5),
        (1.0, 0.0067, 1.0),
        (1.0, 0.0149, 1.0),
        (1.0, 0.0151, 2.0),
        (1e6, 1.0, 1e6),
        (1e-6, 0.0, 1e-6),
    ],
)
def test_the_kl_coefficient_halves_and_doubles_within_limits(coef, kl, expected):
    np.testing.assert_allclose(ops.adapted_kl_coef(coef, kl, 0.01), expected, rtol=1e-6)


def test_approximate_kl_is_unbiased_and_never_negative():
    old, new = (np.exp(x) / np.exp(x).sum() for x in rng.normal(size=(2, 20)))
    estimates = np.asarray(ops.approximate_kl(jnp.log(new / old)))
    np.testing.assert_allclose(old @ estimates, old @ np.log(old / new), rtol=1e-5)
    assert estimates.min() >= 0


def test_approximate_kl_keeps_precision_for_tiny_moves():
    np.testing.assert_allclose(ops.approximate_kl(jnp.float32(1e-2)), 5.0167e-05, rtol=1e-3)
