"""What updates do to tables, next to loops over NumPy arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.updates import tables

KEY = jax.random.key(0)
S, A = 5, 3
LR = 0.25
STEPS = {
    "constant": (tables.constant(0.5), lambda cell, updates: 0.5),
    "harmonic": (tables.harmonic(0.5, 4.0), lambda cell, updates: 0.5 / (1 + updates / 4)),
    "visit_count": (tables.visit_count(0.5, 0.7), lambda cell, updates: 0.5 / cell**0.7),
}


def draw(seed: int, *shape: int):
    """States, actions and targets [*shape], and a table [S, A]."""
    rng = np.random.default_rng(seed)
    obs, action = rng.integers(S, size=shape), rng.integers(A, size=shape)
    return obs, action, rng.normal(size=shape), rng.normal(size=(S, A))


def in_turn(update, params, *batches):
    """The parameters after each of the batches."""
    state, after = update.init(params, KEY), []
    for batch in batches:
        params, state, same, metrics = update.apply(params, state, batch, KEY)
        assert same is batch
        after.append(np.asarray(params))
    return after, metrics


def table_batch(make_batch, obs, action, target, **extras):
    return make_batch(
        *np.shape(obs),
        obs=jnp.asarray(obs),
        action=jnp.asarray(action),
        extras={"target": jnp.asarray(target, jnp.float32), **extras},
    )


def mean_loop(table, cells, targets):
    """Each visited cell a quarter of the way to the mean of its targets."""
    found, expected = {}, table.copy()
    for cell, target in zip(cells, targets, strict=True):
        found.setdefault(cell, []).append(target)
    for cell, given in found.items():
        expected[cell] += LR * (np.mean(given) - table[cell])
    return expected, set(found)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 3)])
def test_table_step_equals_a_loop_over_visits(make_batch, shape):
    obs, action, target, table = draw(sum(shape), *shape)
    batch = table_batch(make_batch, obs, action, target)
    (after,), metrics = in_turn(tables.table_step(tables.constant(LR)), jnp.array(table), batch)
    cells = list(zip(obs.flat, action.flat, strict=True))
    expected, visited = mean_loop(table, cells, target.flat)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    error = np.abs(target - table[obs, action]).mean()
    np.testing.assert_allclose(metrics["losses/td_error"], error, rtol=1e-5)
    for cell in set(np.ndindex(S, A)) - visited:
        assert after[cell] == np.float32(table[cell])


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (8, 8)])
def test_many_visits_to_one_cell_move_it_by_one_step_size(make_batch, shape):
    obs, action = np.full(shape, 2), np.full(shape, 1)
    batch = table_batch(make_batch, obs, action, np.full(shape, 4.0))
    (after,), _ = in_turn(tables.table_step(tables.constant(LR)), jnp.zeros((S, A)), batch)
    expected = np.zeros((S, A))
    expected[2, 1] = LR * 4.0
    np.testing.assert_allclose(after, expected, rtol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_step_sizes_follow_their_formula_and_count_a_cell_once_per_update(make_batch, name):
    step_size, formula = STEPS[name]
    rng = np.random.default_rng(3)
    table, counts, batches, expected = np.zeros((S, A)), np.zeros((S, A)), [], []
    for update in range(1, 9):
        # Few cells, so that some are visited twice: counts are not those of visits.
        obs, action = rng.integers(2, size=(2, 2)), rng.integers(2, size=(2, 2))
        target = rng.normal(size=(2, 2))
        batches.append(table_batch(make_batch, obs, action, target))
        new = table.copy()
        for cell in {*zip(obs.flat, action.flat, strict=True)}:
            counts[cell] += 1
            mean = target[(obs == cell[0]) & (action == cell[1])].mean()
            new[cell] += formula(counts[cell], update) * (mean - table[cell])
        table = new
        expected.append(table)
    assert len(set(counts[:2, :2].flat)) > 1 and counts.sum() < 4 * 8
    after, _ = in_turn(tables.table_step(step_size), jnp.zeros((S, A)), *batches)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-6)


def test_counted_visits_with_exponent_1_make_the_mean_of_all_targets(make_batch):
    targets = np.random.default_rng(0).normal(size=10)
    batches = [table_batch(make_batch, [[1]], [[0]], [[t]]) for t in targets]
    after, _ = in_turn(
        tables.table_step(tables.visit_count(1.0, 1.0)), jnp.full((S, A), 9.0), *batches
    )
    means = np.cumsum(targets) / np.arange(1, 11)
    np.testing.assert_allclose([table[1, 0] for table in after], means, rtol=1e-5, atol=1e-6)


def test_a_harmonic_step_is_half_after_its_half_life():
    step = tables.harmonic(0.5, 100.0)
    np.testing.assert_allclose([step(None, 0.0), step(None, 100.0)], [0.5, 0.25])


def test_trace_step_with_one_environment_is_step_size_x_error_x_eligibility(make_batch):
    *_, table = draw(0, 1, 1)
    trace = np.random.default_rng(1).uniform(size=(1, 1, S, A))
    trace[0, 0, 2, 1], trace[0, 0, 4] = 1.0, 0.0
    batch = table_batch(make_batch, [[2]], [[1]], [[3.0]], trace=jnp.array(trace, jnp.float32))
    (after,), metrics = in_turn(tables.trace_step(tables.constant(LR)), jnp.array(table), batch)
    delta = 3.0 - table[2, 1]
    np.testing.assert_allclose(after, table + LR * delta * trace[0, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["losses/td_error"], abs(delta), rtol=1e-6)
    np.testing.assert_array_equal(after[4], table[4].astype(np.float32))


@pytest.mark.parametrize("name", STEPS)
def test_trace_step_equals_a_loop(make_batch, name):
    step_size, formula = STEPS[name]
    rng = np.random.default_rng(2)
    _, _, _, table = draw(2, 1, 1)
    start, counts, batches, expected = table, np.zeros((S, A)), [], []
    for update in range(1, 5):
        obs, action, target, _ = draw(10 + update, 2, 3)
        # Sparse, so that cells have been led here from by many, by one and by none.
        trace = rng.uniform(size=(2, 3, S, A)) * (rng.uniform(size=(2, 3, S, A)) < 0.3)
        for t, n in np.ndindex(2, 3):
            trace[t, n, obs[t, n], action[t, n]] = 1.0
        trace[..., 4, 2] = 0.0
        batches.append(
            table_batch(make_batch, obs, action, target, trace=jnp.array(trace, jnp.float32))
        )
        moved, shares = np.zeros((S, A)), {cell: [] for cell in np.ndindex(S, A)}
        for t, n in np.ndindex(2, 3):
            moved += (target[t, n] - table[obs[t, n], action[t, n]]) * trace[t, n]
            shares[obs[t, n], action[t, n]].append(1.0)  # a visit
            for cell in np.ndindex(S, A):
                if t == 0 and cell != (obs[t, n], action[t, n]) and trace[t, n][cell] > 0:
                    shares[cell].append(trace[t, n][cell])  # a trace from before the rollout
        for cell, share in shares.items():
            counts[cell] += bool(share)
            # A trace that begins without a visit is none.
            number = np.square(np.sum(share)) / np.sum(np.square(share)) if share else np.inf
            moved[cell] /= number
        assert {len(share) for share in shares.values()} >= {0, 1, 2}
        table = table + formula(np.maximum(counts, 1), update) * moved
        expected.append(table)
    after, _ = in_turn(tables.trace_step(step_size), jnp.array(start), *batches)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)


def test_a_trace_fades_however_many_environments_have_one(make_batch):
    # All have been in cell (4, 0) a while ago, and are in (0, 0) now.
    def moved(n: int) -> float:
        trace = jnp.zeros((1, n, S, A)).at[:, :, 0, 0].set(1.0).at[:, :, 4, 0].set(0.1)
        zeros, ones = np.zeros((1, n), int), np.ones((1, n))
        batch = table_batch(make_batch, zeros, zeros, ones, trace=trace)
        (after,), _ = in_turn(tables.trace_step(tables.constant(LR)), jnp.zeros((S, A)), batch)
        np.testing.assert_allclose(after[0, 0], LR, rtol=1e-5)
        return after[4, 0]

    np.testing.assert_allclose([moved(1), moved(2), moved(64)], LR * 0.1, rtol=1e-5)


def test_a_trace_that_has_nearly_gone_does_not_hold_back_a_visit(make_batch):
    trace = jnp.zeros((1, 64, S, A)).at[:, :, 1, 1].set(1e-4).at[:, 0, 1, 1].set(1.0)
    obs, action = np.zeros((1, 64), int), np.zeros((1, 64), int)
    obs[0, 0] = action[0, 0] = 1
    batch = table_batch(make_batch, obs, action, np.ones((1, 64)), trace=trace)
    (after,), _ = in_turn(tables.trace_step(tables.constant(LR)), jnp.zeros((S, A)), batch)
    np.testing.assert_allclose(after[1, 1], LR, rtol=0.01)


@pytest.mark.parametrize("left", [1e-7, 1e-25, 1e-40])
def test_what_is_next_to_nothing_of_a_trace_does_no_harm(make_batch, left):
    trace = jnp.zeros((1, 2, S, A)).at[:, :, 0, 0].set(1.0).at[:, :, 4, 0].set(left)
    zeros, ones = np.zeros((1, 2), int), np.ones((1, 2))
    batch = table_batch(make_batch, zeros, zeros, ones, trace=trace)
    (after,), _ = in_turn(tables.trace_step(tables.constant(LR)), jnp.zeros((S, A)), batch)
    np.testing.assert_allclose(after[[0, 4], 0], [LR, 0.0], atol=1e-6)


def double_batch(make_batch, shape=(8, 8)):
    rng = np.random.default_rng(5)
    obs, action, _, _ = draw(5, *shape)
    next_obs, reward = rng.integers(S, size=shape), rng.normal(size=shape)
    discount = rng.choice([0.0, 0.9], size=shape)
    batch = make_batch(
        *shape,
        obs=jnp.array(obs),
        action=jnp.array(action),
        next_obs=jnp.array(next_obs),
        reward=jnp.array(reward, jnp.float32),
        extras={"discount": jnp.array(discount, jnp.float32)},
    )
    return batch, rng.normal(size=(2, S, A)), (obs, action, next_obs, reward, discount)


def test_the_table_that_learns_chooses_and_the_other_judges(make_batch):
    batch, pair, (_, _, next_obs, reward, discount) = double_batch(make_batch)
    _, _, after, _ = tables.double_table_target().apply(jnp.array(pair), (), batch, KEY)
    coin = np.asarray(after.extras["table"])
    assert coin.dtype == np.int32 and 10 < coin.sum() < 54
    for at in np.ndindex(8, 8):
        learns, judges = pair[coin[at], next_obs[at]], pair[1 - coin[at], next_obs[at]]
        expected = reward[at] + discount[at] * judges[learns.argmax()]
        np.testing.assert_allclose(after.extras["target"][at], expected, rtol=1e-5, atol=1e-6)
    other = tables.double_table_target().apply(jnp.array(pair), (), batch, jax.random.key(1))
    assert (other[2].extras["table"] != coin).any()


def test_only_the_table_that_learns_moves(make_batch):
    batch, pair, _ = double_batch(make_batch)
    obs, action = np.asarray(batch.obs), np.asarray(batch.action)
    update = tables.table_step(tables.constant(LR), tables.visited_in_one_table)
    rng = np.random.default_rng(6)
    target = rng.normal(size=obs.shape)
    for coin in (np.zeros_like(obs), np.ones_like(obs), rng.integers(2, size=obs.shape)):
        annotated = batch.annotate(table=jnp.array(coin), target=jnp.array(target, jnp.float32))
        (after,), _ = in_turn(update, jnp.array(pair), annotated)
        cells = list(zip(coin.flat, obs.flat, action.flat, strict=True))
        expected, _ = mean_loop(pair, cells, target.flat)
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
        for table in {0, 1} - set(coin.flat):
            np.testing.assert_array_equal(after[table], pair[table].astype(np.float32))
