"""The random policy, over any space of actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import rljax
from rljax import agents, networks, replay, updates
from rljax.actors import policy_actor, random_policy
from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.types import MissingField

N, KEY = 20_000, jax.random.key(1)
inf = np.inf


def sampled(space):
    action, recorded, carry = random_policy(space)((), jnp.zeros(N), "kept", jax.random.key(0))
    assert carry == "kept" and recorded["log_prob"].shape == (N,)
    return np.asarray(action), np.asarray(recorded["log_prob"])


def test_discrete_actions_are_uniform():
    action, log_prob = sampled(spaces.Discrete(5))
    assert stats.chisquare(np.bincount(action, minlength=5)).pvalue > 1e-3
    np.testing.assert_allclose(log_prob, -np.log(5), rtol=1e-6)


def test_actions_of_a_box_keep_its_bounds_and_have_the_density_that_is_recorded():
    space = spaces.Box([-1.0, -inf, 2.0, -inf], [3.0, inf, inf, -1.0], (4,))
    action, log_prob = sampled(space)
    assert (action >= space.low).all() and (action <= space.high).all()
    parts = [stats.uniform(-1, 4), stats.norm(), stats.halfnorm(2)]
    for i, part in enumerate(parts):
        assert stats.kstest(action[:, i], part.cdf).pvalue > 1e-3
    assert stats.kstest(-1 - action[:, 3], stats.halfnorm.cdf).pvalue > 1e-3
    expected = sum(part.logpdf(action[:, i]) for i, part in enumerate(parts))
    expected = expected + stats.halfnorm.logpdf(-1 - action[:, 3])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-4)


def test_a_space_of_neither_kind_is_refused():
    with pytest.raises(UsageError, match="no random policy for actions of Dict"):
        random_policy(spaces.Dict({"arm": spaces.Discrete(2)}))


def off_policy(env, extras, **more):
    ac = networks.actor_critic(env, hidden=(4,))
    return agents.off_policy(
        env,
        actor=policy_actor(ac),
        update=lambda hp, progress: updates.chain(),
        replay=lambda hp, progress: replay.uniform(32, 8, extras=extras),
        hparams=rljax.a2c.Hparams(),
        schedule=agents.Schedule(2, 4, 100, warmup_env_steps=16),
        **more,
    )


@pytest.mark.long
def test_warm_up_records_how_likely_its_actions_were():
    agent = off_policy(rljax.make("Pendulum-v1"), ("log_prob",))
    state = jax.jit(agent.init)(jax.random.key(0))
    memory = replay.uniform(32, 8, extras=("log_prob",))
    batch = memory.sample(state.worker.replay, jax.random.key(1))
    np.testing.assert_allclose(batch.extras["log_prob"], -np.log(4.0), rtol=1e-5)
    assert np.ptp(batch.action) > 0


@pytest.mark.long
def test_what_a_warm_up_does_not_record_is_named_and_another_may_be_given():
    env = rljax.make("Pendulum-v1")
    with pytest.raises(MissingField, match="reads extras\\['raw_action'\\]"):
        off_policy(env, ("raw_action",))

    def still(params, obs, carry, key):
        action = jnp.zeros((len(obs), 1))
        return action, {"raw_action": action + 7}, carry

    agent = off_policy(env, ("raw_action",), warmup=still)
    state = jax.jit(agent.init)(jax.random.key(0))
    batch = replay.uniform(32, 8, extras=("raw_action",)).sample(state.worker.replay, KEY)
    assert (batch.extras["raw_action"] == 7).all() and (batch.action == 0).all()
