from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.replay import sum_tree

F = sum_tree.FAN_OUT
KEY = jax.random.key(0)


def forest_of(leaves):
    """The forest over leaves [N, L], in NumPy."""
    envs, count = leaves.shape
    depth = next(d for d in range(1, 99) if F**d >= count)
    levels = [np.zeros((envs, F**depth), np.float32)]
    levels[0][:, :count] = leaves
    while levels[0].shape[1] > F:
        levels.insert(0, levels[0].reshape(envs, -1, F).sum(-1))
    blocks = np.concatenate(levels, 1).reshape(envs, -1, F)
    return blocks[:, : blocks.shape[1] - (F**depth - count) // F]


@jax.jit
def put_all(forest, leaves):
    where = jnp.indices(leaves.shape)
    return sum_tree.put(forest, *where, leaves)


@pytest.mark.parametrize("envs, count", [(1, 1), (2, 4), (3, 5), (1, 16), (2, 17), (1, 70)])
def test_numbers_are_the_sums_of_what_is_below(envs, count):
    rng = np.random.default_rng(count)
    forest, leaves = sum_tree.init(envs, count), np.zeros((envs, count), np.float32)
    np.testing.assert_array_equal(forest, forest_of(leaves))
    put = jax.jit(sum_tree.put)
    for _ in range(20):
        env, leaf = rng.integers(envs, size=6), rng.integers(count, size=6)
        # Large and small in turn: sums that are corrected by differences would lose the small.
        priority = (rng.random(6) * 10.0 ** rng.integers(-6, 7)).astype(np.float32)
        forest = put(forest, env, leaf, priority)
        for where in set(zip(env, leaf, strict=True)):
            leaves[where] = max(priority[(env == where[0]) & (leaf == where[1])])
        np.testing.assert_allclose(forest, forest_of(leaves), rtol=1e-6)


@pytest.mark.parametrize("envs, count, draws", [(1, 1, 4), (1, 9, 32), (3, 21, 64), (40, 3, 16)])
def test_a_draw_from_every_stratum_in_proportion_to_priorities(envs, count, draws):
    rng = np.random.default_rng(count)
    leaves = rng.random((envs, count)).astype(np.float32) ** 3
    leaves[rng.random(leaves.shape) < 0.3] = 0
    leaves[0, 0] = 0.5
    forest = put_all(sum_tree.init(envs, count), leaves)
    keys = jax.random.split(KEY, 4000)
    env, leaf, priority = jax.jit(jax.vmap(lambda k: sum_tree.sample(forest, k, draws)))(keys)
    assert env.shape == leaf.shape == priority.shape == (4000, draws)
    np.testing.assert_array_equal(priority, leaves[env, leaf])

    chosen = np.asarray(env * count + leaf)
    probability = leaves.reshape(-1).astype(float) / leaves.sum(dtype=float)
    counts = np.bincount(chosen.reshape(-1), minlength=probability.size)
    assert (counts[probability == 0] == 0).all()
    expected = probability[probability > 0] * chosen.size
    statistic = np.sum((counts[probability > 0] - expected) ** 2 / expected)
    freedom = len(expected) - 1
    # Strata make counts less random than independent draws would.
    assert statistic <= freedom + 6 * np.sqrt(2 * freedom)
    for sample in chosen[:200]:
        below = np.cumsum(np.bincount(sample, minlength=probability.size))
        exact = np.cumsum(probability) * draws
        assert (np.floor(exact - 1e-4) <= below).all() and (below <= np.ceil(exact + 1e-4)).all()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1 - 2.0**-23, None])
def test_priority_0_is_never_drawn_whatever_is_rounded(monkeypatch, fraction):
    if fraction is not None:
        monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, fraction))
    rng = np.random.default_rng(0)

    @partial(jax.jit, static_argnums=2)
    def draw(leaves, key, count):
        return sum_tree.sample(put_all(sum_tree.init(*leaves.shape), leaves), key, count)

    for seed in range(100):
        leaves = np.exp(rng.normal(0, 8, (3, 40))).astype(np.float32)
        leaves[rng.random(leaves.shape) < rng.random()] = 0
        if seed % 3 == 0:
            leaves[:, :35] = 0
        leaves[:, rng.integers(40)] = 1e-12
        env, leaf, priority = draw(leaves, jax.random.key(seed), 64)
        assert (np.asarray(priority) > 0).all()
        np.testing.assert_array_equal(priority, leaves[env, leaf])


def test_millions_of_leaves_are_told_apart():
    # The sum of these is 2^22, near which numbers are 1/4 apart: 5 of 8 are in the first of a pair.
    leaves = np.tile(np.float32([1.01, 0.99]), 2**21)[None]
    forest = jnp.asarray(forest_of(leaves))
    assert sum_tree.init(1, 2**22).shape == forest.shape
    keys = jax.random.split(KEY, 100)
    _, leaf, _ = jax.jit(jax.vmap(lambda k: sum_tree.sample(forest, k, 1000)))(keys)
    assert abs(np.mean(leaf % 2 == 0) - 0.505) < 4 * 0.5 / np.sqrt(leaf.size)
