from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.ops import permutation

SIZES = [1, 2, 7, 64, 97, 210, 776, 2187, 65536]
MIXED = [64, 96, 210]  # grids of 8 x 8, 8 x 12 and 14 x 15


@partial(jax.jit, static_argnums=(0, 1))
def orders(size, count, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.vmap(lambda key: permutation(key, size))(keys)


@pytest.mark.parametrize("size", SIZES)
def test_every_index_appears_once(size):
    for order in np.asarray(orders(size, 3)):
        assert order.dtype == np.int32
        np.testing.assert_array_equal(np.sort(order), np.arange(size))


@pytest.mark.parametrize("size", [*MIXED, 31])
def test_every_index_lands_everywhere_equally_often(size):
    count = 10_000
    landed = np.zeros((size, size))
    np.add.at(landed, (np.arange(size), np.asarray(orders(size, count))), 1)
    # For uniform permutations the statistic has (size - 1)^2 degrees of freedom.
    expected = count / size
    statistic = np.sum((landed - expected) ** 2) / expected * (size - 1) / size
    freedom = (size - 1) ** 2
    assert abs(statistic - freedom) < 6 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", MIXED)
@pytest.mark.parametrize("apart", ["next", "row"])
def test_neighbours_do_not_stay_together_more_than_chance(size, apart):
    columns = next(size // d for d in range(int(size**0.5), 0, -1) if size % d == 0)
    distance = 1 if apart == "next" else columns
    count = 10_000
    order = np.asarray(orders(size, count))
    adjacent = np.sum(np.abs(np.diff(order, axis=1)) == distance)
    # Each of size - 1 places holds one of 2 (size - distance) ordered pairs out of all.
    chance = count * 2 * (size - distance) / size
    assert abs(adjacent - chance) < 6 * np.sqrt(chance)

    half = np.argsort(order, axis=1) < size // 2
    together = np.mean(half[:, distance:] == half[:, :-distance])
    samples = count * (size - distance)
    chance = (size / 2 - 1) / (size - 1)
    assert abs(together - chance) < 10 * np.sqrt(0.25 / samples)


def test_large_orders_mix_as_far_as_they_reach():
    size, bins = 8192, 16
    order = np.asarray(orders(size, 50))
    counts = np.zeros((bins, bins))
    np.add.at(counts, (np.arange(size) * bins // size, order * bins // size), 1)
    expected = order.size / bins**2
    statistic = np.sum((counts - expected) ** 2) / expected
    freedom = (bins - 1) ** 2
    assert abs(statistic - freedom) < 6 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [64, 31])
def test_keys_give_different_orders(size):
    assert len(np.unique(np.asarray(orders(size, 10_000)), axis=0)) == 10_000


@pytest.mark.parametrize("size", [64, 97])
def test_vmap_equals_a_loop(size):
    keys = jax.random.split(jax.random.key(0), 3)
    looped = jnp.stack([permutation(key, size) for key in keys])
    np.testing.assert_array_equal(orders(size, 3), looped)


def test_large_composite_sizes_are_not_sorted():
    def primitives(size):
        return str(jax.make_jaxpr(lambda key: permutation(key, size))(jax.random.key(0)))

    assert "sort" not in primitives(8192)
    assert "sort" in primitives(8191)
