import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax.networks import RunningStatistics
from rljax.updates import gradient

KEY = jax.random.key(0)
STATISTICS = RunningStatistics(jnp.array([3.0, 1.0]), jnp.array([2.0, 0.5]), jnp.float32(9))
WEIGHTS = {"w": jnp.array([1.0, -2.0]), "b": jnp.float32(0.5)}


def loss(params, batch, key):
    statistics = jax.lax.stop_gradient(params["statistics"])
    x = (batch.obs - statistics.mean) * jax.lax.rsqrt(statistics.variance)
    weights = params["network"]
    value = jnp.mean(jnp.square(x @ weights["w"] + weights["b"] - batch.reward))
    return value, {"losses/value_loss": value, "drawn": jax.random.uniform(key)}


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, weight_decay=0.3)),
    ],
    ids=["sgd", "clipped adamw"],
)
def test_two_steps_equal_optax_by_hand_and_leave_statistics_alone(make_batch, optimizer):
    batch = make_batch(3, 2, obs=jax.random.normal(KEY, (3, 2, 2)), reward=jnp.ones((3, 2)))
    update = gradient(loss, optimizer)
    params = {"network": WEIGHTS, "statistics": STATISTICS}
    state = update.init(params, KEY)
    weights, expected_state = WEIGHTS, optimizer.init(WEIGHTS)
    for _ in range(2):
        with_statistics = lambda w: loss({"network": w, "statistics": STATISTICS}, batch, KEY)  # noqa: E731
        (value, _), grads = jax.value_and_grad(with_statistics, has_aux=True)(weights)
        steps, expected_state = optimizer.update(grads, expected_state, weights)
        weights = optax.apply_updates(weights, steps)

        params, state, after, metrics = update.apply(params, state, batch, KEY)
        assert after is batch
        np.testing.assert_allclose(metrics["losses/value_loss"], value, rtol=1e-6)
        np.testing.assert_allclose(metrics["losses/grad_norm"], optax.global_norm(grads), rtol=1e-6)
        np.testing.assert_array_equal(metrics["drawn"], jax.random.uniform(KEY))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), params["network"], weights
    )
    jax.tree.map(np.testing.assert_array_equal, params["statistics"], STATISTICS)
    memory = sum(x.size for x in jax.tree.leaves(state))
    assert memory == sum(x.size for x in jax.tree.leaves(expected_state))


def test_statistics_stay_even_if_a_loss_differentiates_through_them(make_batch):
    def careless(params, batch, key):
        return jnp.sum(params["network"]["w"] * params["statistics"].mean), {}

    update = gradient(careless, optax.sgd(0.1))
    params = {"network": WEIGHTS, "statistics": STATISTICS}
    after, *_ = update.apply(params, update.init(params, KEY), make_batch(1, 1), KEY)
    np.testing.assert_allclose(after["network"]["w"], [0.7, -2.1], rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, after["statistics"], STATISTICS)
