"""A recurrence without a loop, next to the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import ops

SHAPE = (7, 3)


def inputs(length: int = 7):
    rng = np.random.default_rng(0)
    factor = rng.uniform(size=(length, 3))
    factor[min(2, length - 1), 1] = 0.0  # begins anew
    return factor, rng.normal(size=(length, 3)), rng.normal(size=3)


def by_loop(factor, added, start):
    h, found = start, []
    for f, a in zip(factor, added, strict=True):
        h = f * h + a
        found.append(h)
    return found


@pytest.mark.parametrize("length", [1, 2, 7, 16])
def test_a_linear_recurrence_equals_a_loop(length):
    given = inputs(length)
    expected = by_loop(*given)
    got = jax.jit(ops.linear_recurrence)(*map(jnp.float32, given))
    np.testing.assert_allclose(got, np.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_its_derivative_is_that_of_the_loop():
    given = tuple(map(jnp.float32, inputs()))
    weights = jax.random.normal(jax.random.key(0), SHAPE)

    def weighted(recurrence):
        return jax.grad(lambda *x: jnp.sum(weights * jnp.stack(recurrence(*x))), (0, 1, 2))(*given)

    got, expected = weighted(lambda *x: list(ops.linear_recurrence(*x))), weighted(by_loop)
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
