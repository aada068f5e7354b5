"""An update that is made now and then changes nothing in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import UsageError
from rljax.types import MissingField, Update
from rljax.updates import chain, every, n_step, stateless

KEY = jax.random.key(0)


def counting():
    """Doubles the parameters, counts its calls and reports both."""

    def apply(params, calls, batch, key):
        params, calls = 2 * params, calls + 1
        metrics = {"losses/params": params, "losses/calls": calls.astype(jnp.float32)}
        return params, calls, batch.annotate(inside=batch.reward), metrics

    return Update(lambda params, key: jnp.int32(0), apply)


def run(update, steps: int, batch, **transform):
    params, state = jnp.float32(1), update.init(jnp.float32(1), KEY)
    found = []
    for _ in range(steps):
        params, state, after, metrics = update.apply(params, state, batch, KEY)
        assert jax.tree.structure(after) == jax.tree.structure(batch)
        found.append((float(params), {name: float(x) for name, x in metrics.items()}))
    return found


@pytest.mark.parametrize("period", [1, 2, 3])
def test_it_is_made_the_first_time_and_every_period_times_from_then_on(make_batch, period):
    found = run(every(period, counting(), ["losses/calls"]), 7, make_batch(1, 2))
    made = [1 + i // period for i in range(7)]
    assert [params for params, _ in found] == [2.0**n for n in made]
    assert [metrics for _, metrics in found] == [{"losses/calls": n} for n in made]


def test_a_population_does_the_same(make_batch):
    update, batch = every(2, counting(), ["losses/params"]), make_batch(1, 2)

    def three(params):
        state = update.init(params, KEY)
        for _ in range(3):
            params, state, _, metrics = update.apply(params, state, batch, KEY)
        return params, metrics

    params, metrics = jax.vmap(three)(jnp.array([1.0, 3.0]))
    np.testing.assert_array_equal(params, [4, 12])
    np.testing.assert_array_equal(metrics["losses/params"], params)


def test_what_is_not_due_is_not_computed(make_batch):
    calls = []

    def apply(params, batch, key):
        jax.debug.callback(lambda: calls.append(1))
        return batch, {}

    run(every(3, stateless(apply)), 7, make_batch(1, 2))
    jax.effects_barrier()
    assert len(calls) == 3


def test_bad_input_is_one_sentence(make_batch):
    with pytest.raises(UsageError, match="^period must be a whole number of at least 1, not 0$"):
        every(0, counting())
    with pytest.raises(UsageError, match="'losses/call' is not known; did you mean 'losses/calls'"):
        run(every(2, counting(), ["losses/call"]), 1, make_batch(1, 2))
    per_environment = every(2, chain(n_step(0.9), stateless(lambda p, b, k: (b.extras["x"], {}))))
    with pytest.raises(MissingField, match="reads extras\\['x'\\]"):
        run(per_environment, 1, make_batch(1, 2))
