"""A population is an agent whose states, hyperparameters and metrics lead with the members."""

from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax.envs import probes
from rljax.errors import UsageError
from rljax.replay import capacity

P, Q, N = 2, 3, 4


@pytest.fixture(scope="module")
def agent():
    return rljax.ppo(
        probes.Recall(), num_envs=N, rollout_length=8, num_minibatches=2, num_epochs=1, hidden=(8,)
    )


def keys(*shape: int):
    return jax.random.split(jax.random.key(0), shape)


def leading(tree, axes: int) -> set:
    return {x.shape[:axes] for x in jax.tree.leaves(tree)}


def test_states_and_metrics_lead_with_the_members(agent):
    population = rljax.vmap(agent)
    alone = jax.eval_shape(lambda k: agent.step(agent.init(k)), jax.random.key(0))
    together = jax.eval_shape(lambda k: population.step(population.init(k)), keys(P))
    assert jax.tree.map(lambda x: (P, *x.shape), alone) == jax.tree.map(lambda x: x.shape, together)
    actions, _ = jax.eval_shape(
        population.act, together[0], together[0].worker.obs, population.initial_carry((P, N)), None
    )
    assert actions.shape == (P, N)


@pytest.mark.parametrize("lr", [1e-3, np.array([1e-3, 1e-2, 1e-1]), jnp.float32(1e-3)])
def test_hyperparameters_are_one_number_for_all_or_one_for_each(agent, lr):
    hparams = replace(agent.hparams, lr=lr)
    found = jax.eval_shape(rljax.vmap(agent).init, keys(Q), hparams).hparams
    assert leading(found, 2) == {(Q,)}
    found = jit(lambda k: rljax.vmap(agent).init(k, hparams).hparams)(keys(Q))
    np.testing.assert_array_equal(found.lr, np.broadcast_to(np.float32(lr), Q))
    for field in fields(hparams):
        if field.name != "lr":
            default = np.float32(getattr(agent.hparams, field.name))
            np.testing.assert_array_equal(getattr(found, field.name), np.full(Q, default))


@pytest.mark.parametrize("shape", [(P,), (Q, P), (1,)])
def test_hyperparameters_for_another_number_of_members_are_refused(agent, shape):
    hparams = replace(agent.hparams, lr=np.ones(shape))
    with pytest.raises(UsageError, match="lr"):
        jax.eval_shape(rljax.vmap(agent).init, keys(Q), hparams)


def test_more_members_than_fit_into_memory_are_refused(agent, monkeypatch):
    size = capacity.size_in_bytes(jax.eval_shape(agent.init, jax.random.key(0)))
    monkeypatch.setattr(capacity, "free_memory", lambda device: 2 * size)
    jax.eval_shape(rljax.vmap(agent).init, keys(2))
    with pytest.raises(UsageError, match="members = 3 does not fit.*members at most 2"):
        jax.eval_shape(rljax.vmap(agent).init, keys(3))


@pytest.mark.long
def test_a_population_of_populations_is_one_of_all_their_members(agent):
    flat, nested = rljax.vmap(agent), rljax.vmap(rljax.vmap(agent))

    def run(population, keys, hparams):
        return jit(lambda k: population.step(population.init(k, hparams)))(keys)

    lr = np.array([1e-3, 1e-2])
    found = run(nested, keys(P, Q), replace(agent.hparams, lr=lr))
    expected = run(flat, keys(P, Q).reshape(-1), replace(agent.hparams, lr=lr.repeat(Q)))
    assert leading(found, 2) == {(P, Q)}

    def compare(one, other):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        one = np.asarray(one).reshape(np.shape(other))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

    jax.tree.map(compare, found, expected)


def test_what_is_not_batched_stays(agent):
    population = rljax.vmap(agent)
    for name in ("env", "hparams", "env_steps_per_iteration", "num_iterations"):
        assert getattr(population, name) == getattr(agent, name)
