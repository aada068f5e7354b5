"""Target networks follow the parameters that learn, and nothing else moves them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax.errors import UsageError
from rljax.networks import Network, QNetwork, scalar, with_target
from rljax.updates import gradient, target_network

KEY = jax.random.key(0)
NET = Network(
    lambda key: jax.random.normal(key, (4, 3)), lambda q, obs, carry, key: (q[obs], carry)
)


@pytest.mark.parametrize("period", [1, 3])
@pytest.mark.parametrize("tau", [1.0, 0.25])
def test_it_moves_by_tau_once_in_period_updates(make_batch, tau, period):
    update = target_network(jnp.float32(tau), period)
    online = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
    state, expected, moves = update.init(None, KEY), np.zeros(5), 0
    params = {"online": jnp.zeros(5), "target": jnp.zeros(5), "other": jnp.ones(2)}
    batch = make_batch(1, 1)
    for count, new in enumerate(online):
        if count % period == 0:
            expected, moves = tau * new + (1 - tau) * expected, moves + 1
        params = {**params, "online": jnp.array(new)}
        params, state, after, metrics = update.apply(params, state, batch, KEY)
        np.testing.assert_allclose(params["target"], expected, rtol=1e-6)
        np.testing.assert_array_equal(params["online"], new)
        np.testing.assert_array_equal(params["other"], [1, 1])
        assert after is batch and metrics == {}
    assert moves == len(range(0, 10, period))


def test_it_begins_as_a_copy_that_shares_no_buffer():
    params = with_target(QNetwork(NET, scalar())).net.init(KEY)
    np.testing.assert_array_equal(params["online"], params["target"])
    pointers = {x.unsafe_buffer_pointer() for x in params.values()}
    assert len(pointers) == 2


def test_who_acts_reads_the_online_part_and_the_target_reads_its_own():
    q = with_target(QNetwork(NET, scalar()))
    params = {"online": jnp.full((4, 3), 1.0), "target": jnp.full((4, 3), 2.0)}
    obs = jnp.arange(4)
    assert (q.values(params, obs, (), None)[0] == 1).all()
    assert (q.target.apply(params, obs, (), None)[0] == 2).all()


def test_the_gradient_of_a_part_leaves_the_others_alone(make_batch):
    def loss(params, batch, key):
        return jnp.sum(params["online"] ** 2 * params["target"]), {}

    params = {"online": jnp.array([1.0, 2.0]), "target": jnp.array([3.0, 4.0])}
    update = gradient(loss, optax.sgd(0.1), part="online")
    after, _, _, metrics = update.apply(params, update.init(params, KEY), make_batch(1, 1), KEY)
    np.testing.assert_allclose(after["online"], [1 - 0.6, 2 - 1.6], rtol=1e-6)
    np.testing.assert_array_equal(after["target"], [3, 4])
    np.testing.assert_allclose(metrics["losses/grad_norm"], np.hypot(6, 16), rtol=1e-6)


def test_a_period_below_1_is_refused():
    with pytest.raises(UsageError, match="target_period must be a whole number of at least 1"):
        target_network(1.0, 0)
