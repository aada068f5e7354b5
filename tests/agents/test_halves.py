"""The two halves of an iteration: acting, by whoever does it, and learning from the batch."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit
from test_contracts import AGENTS

import rljax
from rljax.actors import rollout
from rljax.networks import reset_carry


def brought(agent, state, length: int, env=None):
    """The state after acting, and the batch [T, N], as somebody else would bring it."""
    key = jax.random.split(state.key, 3)[1]

    def policy(params, obs, carry, key):
        return agent.policy(state, obs, carry, key)

    worker, batch = rollout(
        env or agent.env, policy, partial(reset_carry, agent), (), state.worker, key, length
    )
    return replace(state, worker=worker), batch


def assert_close(got, wanted):
    def check(path, x, y):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6, err_msg=str(path))

    jax.tree_util.tree_map_with_path(check, got, wanted)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ppo gru", marks=pytest.mark.slow),
        pytest.param("dqn prioritized squared", marks=pytest.mark.long),
        pytest.param("d4pg", marks=pytest.mark.long),
        "q_lambda",
    ],
)
def test_a_step_is_what_both_halves_are(name):
    agent = AGENTS[name].make()
    state = jit(agent.init)(jax.random.key(0))
    length = agent.env_steps_per_iteration // len(state.worker.episode_length)
    after, metrics = jit(agent.step)(state)
    state, batch = jit(partial(brought, agent, length=length))(state)
    learnt, reported = jit(agent.learn)(state, batch)
    assert_close(learnt, after)
    assert {*metrics} - {*reported} == {
        "charts/episodes",
        "charts/episodic_return",
        "charts/episodic_length",
    }


@pytest.mark.long
def test_a_batch_of_another_kind_changes_what_is_learnt():
    agent = AGENTS["ppo gru"].make()
    state = jit(agent.init)(jax.random.key(0))
    state, batch = jit(partial(brought, agent, length=8))(state)
    learn = jit(agent.learn)
    plain, richer = (
        learn(state, replace(batch, reward=r))[0] for r in (batch.reward, -batch.reward)
    )
    assert not np.allclose(*(jax.tree.leaves(x.learner.params)[0] for x in (plain, richer)))
    assert plain.iteration == state.iteration + 1
    assert (jax.random.key_data(plain.key) != jax.random.key_data(state.key)).any()


@pytest.mark.slow
def test_a_batch_is_learnt_from_on_several_devices():
    agent = AGENTS["ppo gru"].make()
    spread = rljax.pmap(agent, 2)
    state = jit(spread.init)(jax.random.key(0))
    alone = jax.device_put(state, jax.devices()[0])
    _, batch = jit(partial(brought, agent, length=8))(alone)
    batch = jax.device_get(batch)
    one, _ = jit(agent.learn)(alone, batch)
    two, metrics = jit(spread.learn)(state, batch)
    assert metrics["replicas/differ"] == 0
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert two.iteration == 1 and two.worker.obs.sharding == state.worker.obs.sharding
