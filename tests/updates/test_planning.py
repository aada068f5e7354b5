"""Models of tables and what is planned with them, next to loops over NumPy arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

from rljax import networks, updates
from rljax.types import MaskedObs, Update
from rljax.updates.tables import constant

KEY = jax.random.key(0)
S, A, GAMMA, LR, THRESHOLD = 6, 3, 0.9, 0.5, 0.05
END = S


def q_learning():
    table = networks.QNetwork(
        networks.Network(None, lambda params, obs, carry, key: (params[obs], carry)),
        networks.scalar("squared"),
    )
    return updates.chain(
        updates.n_step(GAMMA), updates.td_target(table), updates.table_step(constant(LR))
    )


def steps(make_batch, state, action, reward, follows):
    """A batch [T, N]; `follows` is S where the task ended."""
    state, action, reward, follows = (np.asarray(x) for x in (state, action, reward, follows))
    return make_batch(
        *state.shape,
        obs=jnp.asarray(state),
        action=jnp.asarray(action),
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(follows == END),
        next_obs=jnp.asarray(np.minimum(follows, S - 1)),
    )


def random_steps(rng, *shape):
    state, action = rng.integers(S - 1, size=shape), rng.integers(A, size=shape)
    return state, action, rng.normal(size=shape), rng.integers(S + 1, size=shape)


def remembering():
    """An update whose state counts what it was given, [S, A, S + 1], and sums the rewards."""

    def init(params, key):
        return jnp.zeros((S, A, S + 1)), jnp.zeros((S, A))

    def apply(params, state, batch, key):
        follows = jnp.where(batch.terminated, END, batch.next_obs)
        cell = batch.obs, batch.action
        counts = state[0].at[(*cell, follows)].add(1.0)
        return params, (counts, state[1].at[cell].add(batch.reward)), batch, {}

    return Update(init, apply)


@pytest.mark.parametrize("memory", [1.0, 0.5, 0.0])
def test_the_model_is_what_a_loop_counts(make_batch, memory):
    rng, update = np.random.default_rng(0), updates.dyna(remembering(), 0, memory)
    params, visits = jnp.zeros((S, A)), np.zeros((S, A))
    state, apply = update.init(params, KEY), jax.jit(update.apply)
    total, outcomes, tried = np.zeros((S, A)), np.zeros((S, A, S + 1)), np.zeros((S, A))
    for batch in range(6):
        given = random_steps(rng, 4, 3)
        _, state, _, _ = apply(params, state, steps(make_batch, *given), KEY)
        for cell in {*zip(given[0].flat, given[1].flat, strict=True)}:
            for known in (visits, total, outcomes):
                known[cell] *= memory
        for t, n in np.ndindex(4, 3):
            s, a, r, follows = (x[t, n] for x in given)
            visits[s, a] += 1
            total[s, a] += r
            outcomes[s, a, follows] += 1
            tried[s, a] = 4 * batch + t + 1
    model = state[0]
    np.testing.assert_allclose(model.visits, visits, rtol=1e-6)
    np.testing.assert_allclose(model.outcomes, outcomes, rtol=1e-6)
    np.testing.assert_allclose(model.reward, total / np.maximum(visits, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.tried, tried)
    assert model.time == 24


SEEN = ([[0, 0, 0, 1]], [[0, 0, 0, 2]], [[1.0, 2.0, 3.0, 5.0]], [[1, 1, END, 3]])


@pytest.fixture
def imagined(make_batch):
    """What is imagined in 4,000 steps after the steps `SEEN`: counts, and mean rewards."""

    def imagine(**options):
        update = updates.dyna(remembering(), 1000, **options)
        params = jnp.zeros((S, A))
        state = update.init(params, KEY)
        _, (_, (counts, reward)), _, _ = jit(update.apply)(
            params, state, steps(make_batch, *SEEN), KEY
        )
        counts, reward = np.array(counts), np.array(reward)
        for s, a, r, follows in zip(*(np.array(x)[0] for x in SEEN), strict=True):
            counts[s, a, follows] -= 1  # the real ones
            reward[s, a] -= r
        return counts, reward / np.maximum(counts.sum(axis=-1), 1)

    return imagine


def test_dyna_q_imagines_what_it_has_seen(imagined):
    counts, reward = imagined()
    assert counts.sum() == 4000
    seen = {(0, 0, 1): 2000 * 2 / 3, (0, 0, END): 2000 / 3, (1, 2, 3): 2000}
    assert {*map(tuple, np.argwhere(counts))} == {*seen}
    for place, expected in seen.items():
        assert abs(counts[place] - expected) < 150  # five standard deviations
    np.testing.assert_allclose([reward[0, 0], reward[1, 2]], [2.0, 5.0], rtol=1e-4)


def test_dyna_q_plus_imagines_all_actions_of_states_it_has_seen(imagined):
    counts, reward = imagined(kappa=0.5)
    cells = counts.sum(axis=-1)
    assert (cells[:2] > 400).all() and not cells[2:].any()
    for s, a in ((0, 1), (0, 2), (1, 0), (1, 1)):  # never tried: one step has passed
        assert counts[s, a, s] == cells[s, a]
        np.testing.assert_allclose(reward[s, a], 0.5, rtol=1e-5)
    np.testing.assert_allclose([reward[0, 0], reward[1, 2]], [2.0, 5.0], rtol=1e-4)


def test_the_bonus_grows_with_the_root_of_the_time_since(make_batch):
    update = updates.dyna(remembering(), 200, kappa=0.5)
    params = jnp.zeros((S, A))
    state, apply = update.init(params, KEY), jit(update.apply)
    for action in (0, *[1] * 9):
        before = state
        _, state, _, _ = apply(
            params, state, steps(make_batch, [[2]], [[action]], [[0]], [[2]]), KEY
        )
    counts, reward = (new - old for new, old in zip(state[1], before[1], strict=True))
    mean = reward[2] / counts[2].sum(axis=-1)
    np.testing.assert_allclose(mean, 0.5 * np.sqrt([9, 0, 10]), rtol=1e-4)


def test_imagined_steps_move_values_one_after_the_other(make_batch):
    """Along a corridor of one action, the value of the end arrives at its beginning."""
    update, params = updates.dyna(q_learning(), 100), jnp.zeros((S, A))
    corridor = [[0], [1], [2]], [[0], [0], [0]], [[0.0], [0.0], [1.0]], [[1], [2], [END]]
    state = update.init(params, KEY)
    params, _, after, metrics = jit(update.apply)(params, state, steps(make_batch, *corridor), KEY)
    np.testing.assert_allclose(params[:3, 0], [GAMMA**2, GAMMA, 1.0], rtol=1e-4)
    assert after.extras["target"].shape == (3, 1) and "losses/td_error" in metrics


def test_illegal_actions_are_not_imagined(make_batch):
    legal = jnp.ones((S, A), bool).at[0, 1].set(False).at[3, 0].set(False)

    def masked(batch):
        obs, after = batch.obs, batch.next_obs
        return batch.replace(
            obs=MaskedObs(obs, legal[obs]),
            next_obs=MaskedObs(after, legal[after] | batch.terminated[..., None]),
        )

    found = []

    def apply(params, state, batch, key):
        found.append(jax.tree.structure(batch.obs))
        counts = state.at[batch.obs.obs, batch.action].add(1.0)
        bad = jnp.any(
            batch.next_obs.legal != legal[batch.next_obs.obs] | batch.terminated[..., None]
        )
        return params, counts + jnp.where(bad, jnp.nan, 0.0), batch, {}

    inner = Update(lambda params, key: jnp.zeros((S, A)), apply)
    update, params = updates.dyna(inner, 100, kappa=0.1), jnp.zeros((S, A))
    batch = masked(steps(make_batch, [[0, 1]], [[0, 2]], [[0, 0]], [[1, 3]]))
    _, (_, counts), _, _ = jit(update.apply)(params, update.init(params, KEY), batch, KEY)
    assert len(set(found)) == 1
    assert counts[0, 1] == 0 and (np.delete(np.array(counts[:2]), 1)[:5] > 0).all()


# Of a threshold, and of a number of steps, with which no two priorities are nearly equal.
def box(rng, table, world, number, planning_steps):
    """Prioritized sweeping as Sutton and Barto's box, after each of `number` random steps."""
    table, model, queue, swept = table.copy(), {}, {}, []

    def target(cell):
        reward, follows = model[cell]
        return reward + (GAMMA * table[follows].max() if follows != END else 0.0)

    def insert(cell):
        priority = abs(target(cell) - table[cell])
        if priority > THRESHOLD:
            queue[cell] = max(priority, queue.get(cell, 0.0))

    for _ in range(number):
        cell = int(rng.integers(S)), int(rng.integers(A))
        model[cell] = world[cell]
        insert(cell)
        made = 0
        while queue and made < planning_steps:
            first = max(queue, key=queue.get)
            del queue[first]
            table[first] += LR * (target(first) - table[first])
            made += 1
            for before, (_, follows) in model.items():
                if follows == first[0]:
                    insert(before)
        swept.append(made)
        yield cell, table, made
    assert {0, planning_steps} <= {*swept}  # an empty queue, and one that is not emptied


def test_prioritized_sweeping_is_the_box(make_batch):
    rng = np.random.default_rng(1)
    table = rng.normal(size=(S, A))
    world = {
        cell: (rng.normal(), int(rng.choice([*range(S), *[END] * S]))) for cell in np.ndindex(S, A)
    }
    update = updates.prioritized_sweeping(q_learning(), GAMMA, 3, THRESHOLD)
    params = jnp.asarray(table, jnp.float32)
    state, apply = update.init(params, KEY), jit(update.apply)
    for cell, expected, swept in box(rng, np.float64(params), world, 60, 3):
        reward, follows = world[cell]
        batch = steps(make_batch, [[cell[0]]], [[cell[1]]], [[reward]], [[follows]])
        params, state, _, metrics = apply(params, state, batch, KEY)
        np.testing.assert_allclose(params, expected, rtol=1e-4, atol=1e-5)
        assert metrics["charts/swept_cells"] == swept


def test_a_sweep_is_the_expectation_of_all_that_followed(make_batch):
    table = np.random.default_rng(2).normal(size=(S, A))
    update = updates.prioritized_sweeping(q_learning(), GAMMA, 1, 0.0)
    params = jnp.asarray(table, jnp.float32)
    seen = [[0, 0, 0, 0]], [[1, 1, 1, 1]], [[1.0, 0.0, 0.0, 0.0]], [[2, 3, 3, END]]
    after, state, _, metrics = jit(update.apply)(
        params, update.init(params, KEY), steps(make_batch, *seen), KEY
    )
    mean = 0.25 + GAMMA * (table[2].max() + 2 * table[3].max()) / 4
    expected = table.copy()
    expected[0, 1] += LR * (mean - table[0, 1])
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    assert metrics["charts/swept_cells"] == 1  # of the four that there is room for
    np.testing.assert_allclose(metrics["losses/td_error"], abs(mean - table[0, 1]), rtol=1e-5)


def test_two_environments_change_the_two_cells_that_are_most_wrong(make_batch):
    update = updates.prioritized_sweeping(q_learning(), GAMMA, 1, 0.0)
    params = jnp.zeros((S, A))
    seen = [[0, 1], [2, 3]], [[0, 0], [0, 0]], [[1.0, 5.0], [3.0, 7.0]], [[END, END], [END, END]]
    batch = steps(make_batch, *seen)
    state = update.init(params, KEY)
    after, state, _, _ = jit(update.apply)(params, state, batch, KEY)
    # One change of two cells for each of the two rows.
    np.testing.assert_allclose(after[:4, 0], LR * np.array([1.0, 5.0, 3.0, 7.0]), rtol=1e-6)
    batch = steps(make_batch, *(np.array(x)[:1] for x in seen))
    after, state, _, metrics = jit(update.apply)(params, update.init(params, KEY), batch, KEY)
    np.testing.assert_allclose(after[:4, 0], LR * np.array([1.0, 5.0, 0.0, 0.0]), rtol=1e-6)
    assert metrics["charts/swept_cells"] == 2
