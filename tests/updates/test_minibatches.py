import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import UsageError
from rljax.types import Parts, Update
from rljax.updates import epochs, in_parts

KEY = jax.random.key(0)


def recorder(updates, length, batch):
    """An update whose parameters log the rows [L, B] and the key of every call, in order."""

    def init(params, key):
        return jnp.int32(0)

    def apply(params, calls, minibatch, key):
        params = {
            "rows": params["rows"].at[calls].set(minibatch.extras["index"]),
            "keys": params["keys"].at[calls].set(jax.random.bits(key)),
        }
        metrics = {"calls": calls + 1, "mean": minibatch.extras["index"].mean()}
        return params, calls + 1, minibatch.annotate(index=-minibatch.reward), metrics

    params = {
        "rows": jnp.full((updates, length, batch), -1),
        "keys": jnp.zeros(updates, jnp.uint32),
    }
    return Update(init, apply), params


def run(make_batch, time, envs, num_epochs, num_minibatches, length=1, stop=None):
    update, params = recorder(
        num_epochs * num_minibatches, length, time * envs // length // num_minibatches
    )
    update = epochs(update, num_epochs, num_minibatches, length, stop)
    batch = make_batch(time, envs)
    state = update.init(params, KEY)
    params, state, after, metrics = jax.jit(update.apply)(params, state, batch, KEY)
    np.testing.assert_array_equal(after.extras["index"], batch.extras["index"])
    return jax.tree.map(np.asarray, (params, state, metrics))


@pytest.mark.parametrize(
    "time, envs, num_epochs, num_minibatches, length",
    [(16, 4, 3, 4, 1), (6, 4, 3, 2, 3), (6, 4, 2, 4, 6), (5, 1, 1, 1, 1)],
)
def test_every_epoch_visits_every_row_once_in_sequences_that_keep_time_order(
    make_batch, time, envs, num_epochs, num_minibatches, length
):
    params, calls, metrics = run(make_batch, time, envs, num_epochs, num_minibatches, length)
    rows = params["rows"]  # [updates, L, B], the index t * envs + n of each row
    assert calls == len(rows) == num_epochs * num_minibatches
    for epoch in rows.reshape(num_epochs, -1):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(time * envs))
    first = rows[:, 0]
    assert (first // envs % length == 0).all()
    np.testing.assert_array_equal(rows, first[:, None] + envs * np.arange(length)[:, None])
    assert len(np.unique(first.reshape(num_epochs, -1), axis=0)) == num_epochs
    assert len(np.unique(params["keys"])) == calls
    np.testing.assert_allclose(metrics["calls"], np.arange(1, calls + 1).mean())
    np.testing.assert_allclose(metrics["mean"], np.arange(time * envs).mean())
    assert "losses/updates_made" not in metrics


def test_another_key_gives_another_order(make_batch):
    update, params = recorder(4, 1, 6)
    update = epochs(update, 1, 4)
    logs = [
        update.apply(params, jnp.int32(0), make_batch(6, 4), jax.random.key(seed))[0]["rows"]
        for seed in range(2)
    ]
    assert (logs[0] != logs[1]).any()


@pytest.mark.parametrize("limit, made", [(1, 1), (3, 3), (5, 5), (100, 8)])
def test_stop_skips_the_rest_of_all_epochs(make_batch, limit, made):
    # Asking for equality shows that it stays stopped, although metrics of skipped updates are 0.
    params, calls, metrics = run(
        make_batch, 6, 4, 2, 4, stop=lambda metrics: metrics["calls"] == limit
    )
    assert calls == made
    assert (params["rows"][:made] >= 0).all() and (params["rows"][made:] == -1).all()
    np.testing.assert_allclose(metrics["calls"], np.arange(1, made + 1).mean())
    np.testing.assert_allclose(metrics["mean"], params["rows"][:made].mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["losses/updates_made"], made / 8)


def test_a_population_stops_when_its_last_member_has(make_batch):
    """What is not computed any more is not called: `cond` would call it for all minibatches."""
    called = []
    inner, params = recorder(8, 1, 6)

    def apply(params, state, batch, key):
        jax.debug.callback(lambda _: called.append(1), state)
        return inner.apply(params, state, batch, key)

    def member(limit):
        update = epochs(Update(inner.init, apply), 2, 4, stop=lambda m: m["calls"] >= limit)
        _, calls, _, metrics = update.apply(params, jnp.int32(0), make_batch(6, 4), KEY)
        return calls, metrics["losses/updates_made"]

    calls, made = jax.jit(jax.vmap(member))(jnp.array([1, 3, 2]))
    jax.effects_barrier()
    np.testing.assert_array_equal(calls, [1, 3, 2])
    np.testing.assert_allclose(made, [1 / 8, 3 / 8, 2 / 8])
    assert len(called) == 3 * 3  # turns of the loop x members


@pytest.mark.parametrize(
    "counts, message",
    [
        ((1, 5, 1), "num_envs x rollout_length = 24 does not divide by num_minibatches = 5"),
        ((1, 3, 3), r"= 8 .* num_minibatches = 3: .* 6 or 9, or num_minibatches 2 or 4$"),
        ((1, 1, 4), "rollout_length = 6 does not divide by sequence_length = 4"),
        ((0, 1, 1), "num_epochs must be a whole number of at least 1, not 0"),
        ((1, -1, 1), "num_minibatches must be .* not -1"),
        ((1, 1, 1.5), "sequence_length must be .* not 1.5"),
    ],
)
def test_counts_that_do_not_fit_are_refused(make_batch, counts, message):
    with pytest.raises(UsageError, match=message):
        update = epochs(recorder(1, 1, 1)[0], *counts)
        update.apply(None, None, make_batch(6, 4), KEY)


def sums(name):
    """An update in parts that adds the sum of what it is given of a field to its parameters."""

    def contribute(params, batch, key):
        x = batch.extras[name]
        metrics = {"rows": jnp.float32(x.shape[0]), "spread": jnp.std(x)}
        return jnp.sum(x * jnp.arange(len(x))[:, None]), batch, metrics

    def absorb(params, state, contribution):
        return params + contribution, state + 1, {"seen": contribution}

    return in_parts(lambda params, key: jnp.int32(0), Parts(contribute, absorb))


def test_one_epoch_of_one_minibatch_is_in_parts_as_its_update_is(make_batch):
    def by_hand(x):
        return (x - x.mean()) / x.std()

    advantage = jax.random.uniform(KEY, (6, 4))
    batch = make_batch(6, 4, {"advantage": advantage})
    update = epochs(sums("advantage"), 1, 1, 3, standardize=("advantage",))
    assert update.parts is not None
    params, state, after, metrics = update.apply(jnp.float32(1), jnp.int32(0), batch, KEY)
    rows = by_hand(advantage).reshape(2, 3, 4).sum(axis=(0, 2))
    np.testing.assert_allclose(params, 1 + rows[1] + 2 * rows[2], rtol=1e-4)
    np.testing.assert_array_equal(after.extras["advantage"], advantage)
    assert state == 1 and metrics["rows"] == 3 and metrics["seen"] == params - 1
    np.testing.assert_allclose(metrics["spread"], 1, rtol=1e-5)
    for counts in ((2, 1), (1, 2)):
        assert epochs(sums("advantage"), *counts).parts is None
    assert epochs(sums("advantage"), 1, 1, stop=lambda metrics: True).parts is None
    assert epochs(recorder(1, 1, 1)[0], 1, 1).parts is None
