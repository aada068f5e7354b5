"""Rewards, values and advantages [T, N, M] of several agents, whose episodes end together."""

import jax
import jax.numpy as jnp
import numpy as np

from rljax import networks, updates
from rljax.networks import Network
from rljax.types import Update

T, N, M = 8, 4, 3
KEYS = jax.random.split(jax.random.key(0), 6)


def batch_of(make_batch, agents):
    """Random steps of M agents; with an index, of one of them alone."""
    obs, next_obs = (jax.random.normal(k, (T, N, M, 2))[:, :, agents] for k in KEYS[:2])
    reward, carry = (jax.random.normal(k, (T, N, M))[:, :, agents] for k in KEYS[2:4])
    terminated, truncated = (jax.random.bernoulli(k, 0.2, (T, N)) for k in KEYS[4:])
    fields = {"obs": obs, "next_obs": next_obs, "reward": reward}
    ends = {"terminated": terminated, "truncated": truncated}
    return make_batch(T, N, **fields, **ends, extras={"carry": carry})


def advantages(batch, *agents):
    """What `gae` writes for a batch, with a value that counts the steps of an episode."""

    def apply(params, obs, carry, key):
        return ((), params * obs.sum(-1) + carry), carry + 1

    net = Network(lambda key: (), apply, lambda leading: jnp.zeros((*leading, *agents)))
    update = updates.gae(networks.ActorCritic(net, head=None).value, 0.9, 0.8)
    return jax.jit(update.apply)(jnp.float32(2), (), batch, KEYS[0])[2].extras


def test_each_agent_has_the_advantages_that_it_would_have_alone(make_batch):
    together = advantages(batch_of(make_batch, slice(None)), M)
    assert together["advantage"].shape == (T, N, M)
    for agent in range(M):
        alone = advantages(batch_of(make_batch, agent))
        for field in ("value", "advantage", "target"):
            expected = alone[field]
            np.testing.assert_allclose(together[field][..., agent], expected, 1e-5, 1e-5)


def minibatches_of(batch, length):
    """The minibatches [updates, L, B, ...] of two epochs, standardized by their advantages."""

    def init(params, key):
        return jnp.int32(0)

    def apply(seen, calls, minibatch, key):
        own = {**minibatch.extras, "reward": minibatch.reward}
        seen = jax.tree.map(lambda all_, one: all_.at[calls].set(one), seen, own)
        return seen, calls + 1, minibatch, {}

    update = updates.epochs(Update(init, apply), 2, 2, length, standardize=["advantage"])
    shape = (4, length, T * N // length // 2)
    fields = {**batch.extras, "reward": batch.reward}
    seen = {name: jnp.zeros((*shape, *x.shape[2:]), x.dtype) for name, x in fields.items()}
    return jax.jit(update.apply)(seen, jnp.int32(0), batch, KEYS[0])[0]


def test_a_minibatch_has_all_agents_of_its_steps_standardized_together(make_batch):
    batch = batch_of(make_batch, slice(None))
    batch = batch.annotate(advantage=5 * batch.reward + 7 * jnp.arange(M))
    seen = minibatches_of(batch, length=2)
    for k in range(4):
        time, env = np.divmod(seen["index"][k], N)
        np.testing.assert_array_equal(seen["reward"][k], batch.reward[time, env])
        raw = batch.extras["advantage"][time, env]
        expected = (raw - raw.mean()) / raw.std()
        np.testing.assert_allclose(seen["advantage"][k], expected, 1e-4, 1e-5)
        assert np.ptp(seen["advantage"][k].mean((0, 1))) > 0.5  # Agents are not made alike.


def test_one_agent_of_an_axis_is_one_without(make_batch):
    one = batch_of(make_batch, 0)
    alone, axis = (
        batch.annotate(advantage=batch.reward)
        for batch in (one, one.replace(reward=one.reward[..., None]))
    )
    plain, with_axis = minibatches_of(alone, 2), minibatches_of(axis, 2)
    for field in ("index", "reward", "advantage"):
        np.testing.assert_array_equal(with_axis[field].reshape(plain[field].shape), plain[field])


def test_normalised_values_have_the_mean_and_deviation_of_targets(make_batch):
    def standard(params, obs, carry, key):
        return (obs, obs.sum(-1)), carry

    net = networks.with_normalized_values(Network(lambda key: (), standard))
    target = 5.0 + 3.0 * jax.random.normal(KEYS[0], (T, N, M))
    batch = make_batch(T, N).annotate(target=target)
    params, _, after, _ = updates.target_statistics().apply(net.init(KEYS[0]), (), batch, KEYS[0])
    obs = jax.random.normal(KEYS[1], (T, N, M, 2))
    (_, values), _ = net.apply(params, obs, (), None)
    np.testing.assert_allclose(values, target.mean() + target.std() * obs.sum(-1), 1e-4, 1e-4)
    np.testing.assert_allclose(after.extras["value_scale"], 1 / target.std(), rtol=1e-4)
    (_, at_first), _ = net.apply(net.init(KEYS[0]), obs, (), None)
    np.testing.assert_allclose(at_first, obs.sum(-1), rtol=1e-6)
