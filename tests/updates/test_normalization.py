import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import UsageError
from rljax.networks import RunningStatistics
from rljax.updates import observation_statistics, reward_scaling

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(3,), (2, 2), ()])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_merging_batches_equals_numpy_over_all_of_them(make_batch, shape, offset):
    rng = np.random.default_rng(0)
    update = observation_statistics(lambda obs: obs / 2)
    initial = RunningStatistics(jnp.zeros(shape), jnp.ones(shape), jnp.float32(0))
    params = {"network": jnp.float32(7), "statistics": initial}
    seen = []
    for time, scale in [(5, 1.0), (9, 3.0), (2, 0.1)]:
        obs = (offset + scale * rng.normal(size=(time, 4, *shape)) + len(seen)).astype(np.float32)
        seen.append(obs.reshape(-1, *shape) / 2)
        batch = make_batch(time, 4, obs=jnp.asarray(obs))
        params, state, after, metrics = update.apply(params, (), batch, KEY)
        assert after is batch and state == () and metrics == {}
    everything = np.concatenate(seen).astype(np.float64)
    statistics = params["statistics"]
    np.testing.assert_allclose(statistics.mean, everything.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics.variance, everything.var(0), rtol=1e-3)
    assert statistics.count == 16 * 4
    assert params["network"] == 7


def test_statistics_of_a_part_in_a_part_are_moved_and_nothing_else(make_batch):
    plain, inner = (observation_statistics(lambda obs: obs, *part) for part in ((), ("a", "b")))
    fresh = {"statistics": RunningStatistics(jnp.zeros(2), jnp.ones(2), jnp.float32(0))}
    params = {"a": {"b": fresh, "mixer": 1}, "target": 2}
    batch = make_batch(2, 3, obs=jax.random.normal(KEY, (2, 3, 2)))
    expected = plain.apply(fresh, (), batch, KEY)[0]
    found = inner.apply(params, (), batch, KEY)[0]
    assert found["a"]["mixer"] == 1 and found["target"] == 2 and expected["statistics"].count == 6
    jax.tree.map(np.testing.assert_array_equal, found["a"]["b"], expected)


def test_rewards_of_several_agents_are_not_scaled_as_one(make_batch):
    update = reward_scaling(0.9)
    statistics, so_far = update.init((), KEY)
    state = statistics, jax.tree.map(lambda x: jnp.zeros(3), so_far)
    update.apply((), state, make_batch(2, 3), KEY)
    with pytest.raises(UsageError, match="several agents: use updates.scaled_rewards"):
        update.apply((), state, make_batch(2, 3, reward=jnp.zeros((2, 3, 3))), KEY)
