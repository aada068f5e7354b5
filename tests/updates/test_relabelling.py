"""Hindsight: goals are reached later in the same episode, and rewards are those of the goal."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax import updates
from rljax.envs import goals, probes
from rljax.errors import UsageError

K, B = 5, 400
ENV = goals.BitFlip(6)


@pytest.fixture(scope="module")
def sample():
    """Windows [K, B] of random walks that cross the ends of episodes."""
    agent = rljax.dqn(ENV, num_envs=B, rollout_length=K, buffer_size=B * K, warmup_env_steps=B * K)
    state = jit(agent.init)(jax.random.key(0))
    replay = state.worker.replay
    rows = rljax.replay.packing.unpack(replay.layout, replay.storage)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rows)


def relabelled(sample, fraction, key=0):
    update = updates.hindsight(ENV, fraction)
    return jax.device_get(jit(update.apply)((), (), sample, jax.random.key(key))[2])


@pytest.mark.long
def test_every_field_fits_a_goal_that_was_reached_later_in_the_episode(sample):
    new, old = relabelled(sample, 1.0), jax.device_get(sample)
    bits, goal = np.split(new.obs, 2, axis=-1)
    reached, goal_after = np.split(new.next_obs, 2, axis=-1)
    np.testing.assert_array_equal(bits, old.obs[..., :6])
    np.testing.assert_array_equal(reached, old.next_obs[..., :6])
    np.testing.assert_array_equal(goal, np.broadcast_to(goal[0], goal.shape))
    np.testing.assert_array_equal(goal, goal_after)
    there = (reached == goal).all(-1)
    np.testing.assert_array_equal(new.terminated, there)
    np.testing.assert_array_equal(new.reward, np.where(there, 0.0, -1.0))
    np.testing.assert_array_equal(new.truncated, old.done & ~there)
    np.testing.assert_array_equal(new.action, old.action)
    lengths = []
    for b in range(B):
        last = int(old.done[:, b].argmax()) if old.done[:, b].any() else K - 1
        assert there[: last + 1, b].any()
        lengths.append(int(there[:, b].argmax()))
    assert old.done[:-1].any() and set(lengths) == set(range(K))


@pytest.mark.long
def test_a_fraction_of_the_windows_gets_another_goal(sample):
    old = jax.device_get(sample)
    for fraction in (0.0, 0.5):
        new = relabelled(sample, fraction)
        kept = (new.obs[..., 6:] == old.obs[..., 6:]).all((0, -1))
        assert abs(kept.mean() - (1 - fraction)) < 0.1
        for name in ("obs", "reward", "terminated", "truncated", "next_obs"):
            same = getattr(new, name)[:, kept] == getattr(old, name)[:, kept]
            assert same.all(), name


def test_a_mask_stays_and_the_environment_sees_none_of_it(make_batch):
    obs = jax.random.bernoulli(jax.random.key(0), 0.5, (3, 2, 12)) * 1.0
    legal = jax.random.bernoulli(jax.random.key(1), 0.5, (3, 2, 6))
    plain = make_batch(3, 2, obs=obs, next_obs=obs)
    masked = rljax.types.MaskedObs(obs, legal)
    found = relabelled(plain.replace(obs=masked, next_obs=masked), 1.0)
    expected = relabelled(plain, 1.0)
    for name in ("obs", "next_obs"):
        np.testing.assert_array_equal(getattr(found, name).obs, getattr(expected, name))
        np.testing.assert_array_equal(getattr(found, name).legal, legal)
    np.testing.assert_array_equal(found.reward, expected.reward)


def test_goals_missing_is_said():
    told = "hindsight needs an environment with goals, which DelayedReward is not: give it achieved"
    small = {"hindsight": 2, "hidden": (4,)}
    for env, make in (
        (probes.DelayedReward(), rljax.dqn),
        (probes.ContinuousTarget(), rljax.ddpg),
    ):
        with pytest.raises(UsageError, match=told.replace("DelayedReward", env.name)):
            make(env, **small)
    with pytest.raises(UsageError, match="hindsight must be a whole number of at least 0, not -1"):
        rljax.dqn(ENV, hindsight=-1)
    with pytest.raises(UsageError, match="intrinsic rewards would be lost"):
        rljax.dqn(ENV, hindsight=2, curiosity="rnd")
    with pytest.raises(UsageError, match="hindsight = 200 is more than the .* in the warm-up"):
        rljax.dqn(ENV, hindsight=200)


def success(make, key, **options) -> float:
    agent = make(**options)
    state, _ = rljax.train(agent, key)
    return float(rljax.evaluate(agent, state, jax.random.key(1), 256).succeeded.mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn", "ddpg", "sac"])
def test_it_reaches_goals_that_agents_without_it_do_not(name):
    if name == "dqn":
        hparams = rljax.dqn.Hparams(lr=1e-3, gamma=0.98, epsilon_end=0.1)
        make = partial(rljax.dqn, goals.BitFlip(12), total_env_steps=100_000, hparams=hparams)
        steps = 12
    else:
        make = partial(
            getattr(rljax, name),
            goals.PointReach(radius=0.05),
            num_envs=4,
            total_env_steps=20_000,
            hidden=(64, 64),
        )
        steps = 25
    hindsight = success(make, jax.random.key(0), hindsight=steps)
    assert hindsight > 0.9 and hindsight > success(make, jax.random.key(0)) + 0.05
