"""Rollouts that branch off into a model: of the policy, to an end, into a replay of their own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit
from still import Still

from rljax import collectives, networks
from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.replay import packing
from rljax.updates import imagined_rollouts, model_loss, model_statistics

KEY = jax.random.key(0)
B, M, T, REAL = 8, 4, 3, 0.25
ARM = Still(spaces.Box(-100.0, 100.0, (1,)), spaces.Box(-1.0, 1.0, (1,)))
COUNTS: dict[str, Any] = {
    "num_rollouts": M,
    "rollout_length": T,
    "model_buffer_size": 4 * M * T,
    "batch_size": B,
    "real_fraction": REAL,
}


def counting(limit: float):
    """A model of counting by the action, which pays the count and ends at a limit."""

    def imagine(params, obs, action, key):
        after = obs + action
        return after[:, 0], after[:, 0] >= limit, after

    return networks.ensemble_model(ARM, 2, (4,))._replace(imagine=imagine)


def always(params, obs, carry, key):
    """Acts by the parameters alone."""
    return jnp.full((len(obs), 1), params["actor"]), {}, carry


def sample(make_batch, obs):
    obs = jnp.asarray(obs, jnp.float32)[None, :, None]
    more = {"reward": jnp.full((1, B), -1.0), "action": jnp.zeros((1, B, 1))}
    return make_batch(1, B, obs=obs, next_obs=obs - 1, extras={"weight": jnp.ones((1, B))}, **more)


def applied(make_batch, limit=100.0, obs=tuple(range(0, 80, 10)), times=1, **counts):
    update = imagined_rollouts(counting(limit), always, **{**COUNTS, **counts})
    params = {"actor": jnp.float32(0.5), "model": ()}
    state, batch, metrics = update.init(params, KEY), None, None
    apply = jax.jit(update.apply)
    for i in range(times):
        key = jax.random.key(i)
        params, state, batch, metrics = apply(params, state, sample(make_batch, obs), key)
    return state, batch, metrics


def stored(state):
    """The rows of the replay of imagined steps as obs, reward, terminated, next_obs [M, L]."""
    rows = packing.unpack(state.layout, state.storage)
    return rows.obs[..., 0], rows.reward, rows.terminated, rows.next_obs[..., 0]


def test_rollouts_follow_the_policy_from_the_first_states_of_the_sample(make_batch):
    state, _, metrics = applied(make_batch)
    assert state.storage.shape[:2] == (M, 4 * T) and (state.size == T).all()
    obs, reward, terminated, next_obs = (x[:, :T] for x in stored(state))
    begin = 10.0 * np.arange(M)[:, None]
    np.testing.assert_allclose(obs, begin + [0, 0.5, 1])
    np.testing.assert_allclose(next_obs, begin + [0.5, 1, 1.5])
    np.testing.assert_array_equal(reward, next_obs)
    assert not terminated.any()
    np.testing.assert_allclose(metrics["charts/imagined_reward"], np.mean(next_obs))
    assert metrics["charts/imagined_ends"] == 0


def test_a_rollout_stops_at_an_end_and_begins_anew_where_it_began(make_batch):
    state, _, metrics = applied(make_batch, limit=21.0)
    obs, _, terminated, next_obs = (x[:, :T] for x in stored(state))
    expected = np.array([[0, 0.5, 1], [10, 10.5, 11], [20, 20.5, 20], [30, 30, 30]])
    np.testing.assert_allclose(obs, expected)
    np.testing.assert_array_equal(terminated, expected + 0.5 >= 21)
    np.testing.assert_allclose(next_obs, expected + 0.5)
    np.testing.assert_allclose(metrics["charts/imagined_ends"], 4 / 12)


def test_the_sample_is_a_few_real_steps_and_imagined_ones_with_no_extras(make_batch):
    state, batch, _ = applied(make_batch, times=6)
    assert (state.size == 4 * T).all()  # The oldest rollouts were overwritten.
    real = round(REAL * B)
    assert batch.reward.shape == (1, B) and not batch.extras
    np.testing.assert_array_equal(batch.reward[0, :real], -1.0)
    np.testing.assert_array_equal(batch.obs[0, :real, 0], [0, 10])
    np.testing.assert_allclose(batch.action[0, real:], 0.5)
    np.testing.assert_array_equal(batch.reward[0, real:], batch.next_obs[0, real:, 0])


@pytest.mark.parametrize(("fraction", "real"), [(0.0, 0), (1.0, B)])
def test_all_or_nothing_may_be_real(make_batch, fraction, real):
    _, batch, _ = applied(make_batch, real_fraction=fraction)
    assert int(jnp.sum(batch.reward == -1)) == real


def test_devices_imagine_from_their_own_samples_and_store_the_same(make_batch):
    devices, wide = 2, tuple(range(0, 160, 10))
    update = imagined_rollouts(counting(100.0), always, **{**COUNTS, "batch_size": 2 * B})
    params = {"actor": jnp.float32(0.5), "model": ()}
    given = jax.tree.map(
        lambda *x: jnp.stack(x), *(sample(make_batch, wide[i * B : (i + 1) * B]) for i in (0, 1))
    )

    def apply(batch):
        return update.apply(params, update.init(params, KEY), batch, KEY)[1:]

    spread = jax.pmap(apply, collectives.ENVIRONMENTS, devices=jax.devices()[:devices])
    state, batch, _ = spread(given)
    assert batch.reward.shape == (devices, 1, B)
    for x in jax.tree.leaves(state):
        np.testing.assert_array_equal(x[0], x[1])
    first, _, _, _ = stored(jax.tree.map(lambda x: x[0], state))
    np.testing.assert_allclose(first[:, 0], [0, 10, 80, 90])
    assert first.shape == (M, 4 * T)  # As many as on one device.


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"num_rollouts": 0}, "num_rollouts must be a whole number of at least 1"),
        ({"num_rollouts": B + 1}, "num_rollouts = 9 is more than batch_size = 8"),
        ({"rollout_length": 0}, "rollout_length must be a whole number"),
        ({"model_buffer_size": B - 1}, "batch_size = 8 is more than model_buffer_size = 7"),
        ({"real_fraction": 1.5}, "real_fraction must lie from 0 to 1, not be 1.5"),
    ],
)
def test_counts_are_checked(counts, said):
    with pytest.raises(UsageError, match=said):
        imagined_rollouts(counting(1.0), always, **{**COUNTS, **counts})


def test_statistics_are_of_changes_and_rewards_and_of_what_members_read(make_batch):
    model = networks.ensemble_model(
        Still(ARM.observation_space, spaces.Box(0.0, 4.0, (1,))), 2, (4,)
    )
    batch = sample(make_batch, range(B)).replace(action=jnp.arange(B, dtype=float)[None, :, None])
    update = model_statistics(model)
    params = {"model": jit(model.init)(KEY)}
    after = jit(update.apply)(params, (), batch, KEY)[0]["model"]["statistics"]
    np.testing.assert_allclose(after["outcomes"].mean, [-1, -1], atol=1e-6)
    np.testing.assert_allclose(after["inputs"].mean, [3.5, 0.75])
    np.testing.assert_allclose(after["inputs"].variance, [5.25, 5.25 / 4], rtol=1e-5)


def test_members_learn_from_halves_of_their_own(make_batch):
    model = networks.ensemble_model(ARM, 2, (4,))
    one = jit(model.init)(KEY)
    alike = jax.tree.map(lambda x: jnp.stack([x[0], x[0]]), one["members"])
    params = {"model": {**one, "members": alike}}
    batch = sample(make_batch, range(B))
    grads = jit(jax.grad(lambda p: model_loss(model)(p, batch, KEY)[0]))(params)
    assert all(not np.allclose(x[0], x[1]) for x in jax.tree.leaves(grads["model"]["members"]))
