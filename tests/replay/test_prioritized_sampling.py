from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import replay
from rljax.errors import UsageError
from rljax.replay import sum_tree
from rljax.types import Extras, Transition

KEY = jax.random.key(0)


def priorities_of(state):
    """The priority of each row, [N, L]."""
    envs, length, _ = state.storage.shape
    numbers = np.asarray(state.priorities.forest).reshape(envs, -1)
    return numbers[:, sum_tree._first_leaf(sum_tree._depth(state.priorities.forest)) :][:, :length]


def told(row, priority, window=1):
    """A batch [K, B] that tells `prioritize` the priority of rows [B]."""
    later = jnp.full((window, len(row)), 7)  # Rows after a window's first do not count.
    extras = Extras(
        row=later.at[0].set(jnp.asarray(row)),
        priority=later.astype(float).at[0].set(jnp.asarray(priority)),
    )
    return Transition(*[()] * 6, extras=extras)


@pytest.mark.parametrize(
    "buffer_size, time, envs, window",
    [(12, 1, 2, 1), (20, 4, 1, 3), (12, 2, 3, 2), (16, 8, 2, 8), (6, 1, 1, 6), (24, 4, 2, 9)],
)
@pytest.mark.parametrize("brought", [False, True])
def test_priorities_follow_a_model_row_by_row(make_batch, buffer_size, time, envs, window, brought):
    alpha, epsilon = 0.7, 0.01
    memory = replay.prioritized(buffer_size, 4, window, alpha=alpha, beta=0.4, epsilon=epsilon)
    rollout = make_batch(time, envs, {"priority": jnp.zeros((time, envs))} if brought else None)
    state = memory.init(rollout)
    length = state.storage.shape[1]
    add, prioritize = jax.jit(memory.add), jax.jit(memory.prioritize)
    rng = np.random.default_rng(0)
    model, largest = {}, 1.0  # by environment and first step
    initial = {}
    for now in range(time, 4 * length + 1, time):
        if brought:
            new = rng.normal(0, 3, (time, envs))
            rollout = rollout.annotate(priority=jnp.float32(new))
            for t, env in np.ndindex(time, envs):
                initial[env, now - time + t] = (abs(new[t, env]) + epsilon) ** alpha
        state = add(state, rollout)
        complete = [
            (env, first)
            for env in range(envs)
            for first in range(max(0, now - length), now - window + 1)
        ]
        model = {which: model.get(which, initial.get(which, largest)) for which in complete}
        expected = np.zeros((envs, length))
        for (env, first), priority in model.items():
            expected[env, first % length] = priority
        np.testing.assert_allclose(priorities_of(state), expected, rtol=1e-5)
        np.testing.assert_allclose(state.priorities.largest, largest, rtol=1e-5)

        # Rows at random: those that begin no complete window have to stay as they are.
        row = rng.integers(envs * length, size=4)
        given = rng.normal(0, 3, 4)
        state = prioritize(state, told(row, given, window))
        began = {(env, first % length): (env, first) for env, first in complete}
        for where in set(row.tolist()):
            if (which := began.get(divmod(where, length))) is not None:
                model[which] = max((abs(given[row == where]) + epsilon) ** alpha)
                largest = max(largest, model[which])


@pytest.mark.parametrize("alpha, beta", [(0.0, 1.0), (0.6, 0.4), (1.0, 1.0), (0.6, 0.0)])
def test_windows_are_drawn_and_weighted_as_in_the_paper(make_batch, alpha, beta):
    envs, length, window, batch_size, epsilon = 3, 8, 2, 16, 1e-3
    make = partial(replay.prioritized, envs * length, batch_size, window, epsilon=epsilon)
    rollout = make_batch(length, envs)
    rng = np.random.default_rng(1)
    given = rng.normal(0, 2, (envs, length))
    given[1, 2] = 0.0

    # The exponents may be traced.
    @jax.jit
    def sample(alpha, beta, keys):
        memory = make(alpha=alpha, beta=beta)
        state = memory.add(memory.init(rollout), rollout)
        row = np.arange(envs * length)
        state = memory.prioritize(state, told(row, given.reshape(-1)))
        return jax.vmap(memory.sample, (None, 0))(state, keys).extras

    extras = jax.device_get(sample(alpha, beta, jax.random.split(KEY, 4000)))
    priority = (np.abs(given) + epsilon) ** alpha
    priority[:, length - window + 1 :] = 0
    probability = (priority / priority.sum()).reshape(-1)
    row = extras["row"][:, 0]
    counts = np.bincount(row.reshape(-1), minlength=probability.size)
    drawn = probability > 0
    assert (counts[~drawn] == 0).all()
    expected = probability[drawn] * row.size
    statistic = np.sum((counts[drawn] - expected) ** 2 / expected)
    assert statistic < drawn.sum() + 6 * np.sqrt(2 * drawn.sum())
    if alpha:
        assert abs(counts[np.argmax(probability)] / row.size - probability.max()) < 0.01

    weight = (drawn.sum() * probability[row]) ** -beta
    weight /= weight.max(-1, keepdims=True)
    np.testing.assert_allclose(extras["weight"][:, 0], weight, rtol=1e-5)
    np.testing.assert_array_equal(extras["weight"][:, 0], extras["weight"][:, 1])


def test_a_new_row_of_a_large_error_is_sampled_more_often(make_batch):
    envs, length = 2, 8
    error = np.full((length, envs), 0.5)
    error[2, 1] = 4.0
    memory = replay.prioritized(envs * length, 16, 2, alpha=1.0, beta=0.0)
    rollout = make_batch(length, envs, {"priority": jnp.float32(error)})
    state = memory.add(memory.init(rollout), rollout)
    samples = jax.jit(jax.vmap(memory.sample, (None, 0)))(state, jax.random.split(KEY, 200))
    counts = np.bincount(np.asarray(samples.extras["row"][:, 0]).ravel(), minlength=16)
    counts = counts.reshape(envs, length)
    # The last row begins no window yet.
    assert (counts[:, -1] == 0).all()
    others = np.delete(counts[:, :-1].ravel(), length - 1 + 2)
    np.testing.assert_allclose(counts[1, 2] / others.mean(), 8, rtol=0.1)


def test_the_priority_of_a_sequence_mixes_the_largest_and_the_mean_of_what_is_learnt(make_batch):
    time, envs, window, stride, (begin, count), eta = 4, 2, 6, 2, (1, 3), 0.7
    alpha, epsilon = 0.6, 0.01
    memory = replay.prioritized(
        24,
        4,
        window,
        alpha=alpha,
        beta=0.4,
        epsilon=epsilon,
        stride=stride,
        learnt=(begin, count),
        eta=eta,
    )
    rng = np.random.default_rng(2)
    errors = rng.normal(0, 3, (32, envs))
    rollout = make_batch(time, envs, {"priority": jnp.zeros((time, envs))})
    state = memory.init(rollout)
    length = state.storage.shape[1]
    add, prioritize = jax.jit(memory.add), jax.jit(memory.prioritize)

    def mixed(errors):
        sizes = np.abs(errors)
        return (eta * sizes.max() + (1 - eta) * sizes.mean() + epsilon) ** alpha

    model = {}
    for now in range(time, len(errors) + 1, time):
        new = jnp.float32(errors[now - time : now])
        state = add(state, rollout.annotate(priority=new))
        starts = range(max(0, now - length), now - window + 1)
        complete = [(e, s) for e in range(envs) for s in starts if s % stride == 0]
        model = {
            (e, s): model.get((e, s), mixed(errors[s + begin : s + begin + count, e]))
            for e, s in complete
        }
        expected = np.zeros((envs, length))
        for (e, s), priority in model.items():
            expected[e, s % length] = priority
        np.testing.assert_allclose(priorities_of(state), expected, rtol=1e-5)
        if complete:
            # Told of the rows that were learnt from, whose first is not that of the window.
            env, start = complete[-1]
            told_errors = rng.normal(0, 3, count)
            row = env * length + (start + begin + np.arange(count)) % length
            extras = Extras(
                row=jnp.asarray(row)[:, None], priority=jnp.asarray(told_errors)[:, None]
            )
            state = prioritize(state, Transition(*[()] * 6, extras=extras))
            model[env, start] = mixed(told_errors)


def test_rows_that_are_learnt_lie_in_their_window():
    with pytest.raises(
        UsageError, match="row of a window that is learnt = 5 is more than window = 4"
    ):
        replay.prioritized(24, 4, 4, alpha=1.0, beta=0.0, learnt=(2, 3))


def test_uniform_replay_ignores_priorities(make_batch):
    memory = replay.uniform(8, 2)
    state = memory.init(make_batch(2, 2))
    assert memory.prioritize(state, told([0, 1], [5.0, 6.0])) is state
