"""Intrinsic rewards are what their papers say, and estimators of them learn by themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rljax
from rljax import networks, updates
from rljax.envs import probes, spaces
from rljax.errors import NonFiniteError, UsageError
from rljax.types import PerEnvironment

T, N = 6, 4
BOX = spaces.Box(-1.0, 1.0, (3,))


def begun(update):
    """The state of an update of fresh experience, for N environments."""
    return jax.tree.map(
        lambda node: (
            PerEnvironment(jnp.broadcast_to(node.value, (N,)))
            if isinstance(node, PerEnvironment)
            else node
        ),
        update.init((), jax.random.key(0)),
        is_leaf=lambda node: isinstance(node, PerEnvironment),
    )


def applied(update, state, batch, key=1):
    return jax.jit(update.apply)((), state, batch, jax.random.key(key))[1:]


def test_counts_are_of_all_steps_so_far(make_batch):
    rng, seen = np.random.default_rng(0), np.zeros((5, 2))
    update = updates.counts(networks.numbered(spaces.Discrete(5)), 2)
    state = begun(update)
    for _ in range(3):
        obs, action = rng.integers(0, 5, (T, N)), rng.integers(0, 2, (T, N))
        np.add.at(seen, (obs, action), 1)
        batch = make_batch(T, N, obs=jnp.array(obs), action=jnp.array(action))
        state, batch, metrics = applied(update, state, batch)
        expected = 1 / np.sqrt(seen[obs, action])
        np.testing.assert_allclose(batch.extras["intrinsic_reward"], expected, rtol=1e-6)
        np.testing.assert_allclose(metrics["charts/intrinsic_reward"], expected.mean(), rtol=1e-5)


def test_observations_of_a_box_are_numbered_by_hashes():
    states = networks.numbered(spaces.Box(0.0, 1.0, (10, 10)))
    numbers = np.asarray(states.number(jnp.eye(100).reshape(100, 10, 10)))
    assert numbers.shape == (100,) and numbers.min() >= 0 and numbers.max() < states.size
    assert len(set(numbers)) > 95


@pytest.mark.long
def test_rnd_rewards_are_errors_of_prediction_by_the_deviation_of_their_returns(make_batch):
    gamma, rng = 0.9, np.random.default_rng(0)
    nets = networks.random_distillation(BOX, hidden=(8,), size=4)
    update = updates.rnd(nets, gamma, optax.adam(0.1), num_minibatches=2)
    state, so_far, totals = begun(update), np.zeros(N), []
    fixed = state[0]["fixed"]
    for _ in range(3):
        obs, next_obs = jnp.float32(rng.normal(3.0, 2.0, (2, T, N, 3)))
        batch = make_batch(T, N, obs=obs, next_obs=next_obs, terminated=jnp.ones((T, N), bool))
        before = state[0]
        state, batch, metrics = applied(update, state, batch)
        # With the statistics of now, and the predictor of before.
        params = {**before, "statistics": state[0]["statistics"]}
        error = np.asarray(nets.error(params, next_obs, nets.target(params, next_obs)))
        for t in range(T):
            so_far = gamma * so_far + error[t]
            totals.append(so_far)
        expected = error / np.std(totals)
        np.testing.assert_allclose(batch.extras["intrinsic_reward"], expected, rtol=1e-4)
        assert metrics["nonfinite/intrinsic_reward"] == 0
        np.testing.assert_allclose(metrics["charts/intrinsic_reward"], error.mean(), rtol=1e-4)
        jax.tree.map(np.testing.assert_array_equal, state[0]["fixed"], fixed)
        moved = jax.tree.map(
            lambda a, b: jnp.any(a != b), state[0]["predictor"], before["predictor"]
        )
        assert all(jax.tree.leaves(moved))


@pytest.mark.long
def test_what_rnd_has_seen_is_worth_less_than_what_it_has_not(make_batch):
    nets = networks.random_distillation(BOX, hidden=(16,), size=8)
    update = updates.rnd(nets, 0.99, optax.adam(1e-2))
    old, new = jnp.eye(3)[:2], jnp.array([0.0, 0.0, 1.0])
    seen = jnp.broadcast_to(old[jnp.arange(N) % 2], (T, N, 3))
    batch, state = make_batch(T, N, obs=seen, next_obs=seen), begun(update)

    def learn(state, key):
        return update.apply((), state, batch, key)[1], None

    state = jax.jit(lambda s: jax.lax.scan(learn, s, jax.random.split(jax.random.key(0), 300))[0])(
        state
    )
    known, unknown = (nets.error(state[0], obs, nets.target(state[0], obs)) for obs in (old, new))
    assert known.max() < 0.01 * unknown


@pytest.mark.long
def test_icm_learns_features_that_tell_actions_and_a_model_of_them(make_batch):
    """Half of what is observed is noise, which no action changes."""
    nets = networks.dynamics(BOX, spaces.Discrete(2), hidden=(32,), size=8)
    update = updates.icm(nets, optax.adam(3e-3), num_minibatches=2)
    state, rng = begun(update), np.random.default_rng(0)
    history = []
    for _ in range(150):
        obs, noise = rng.normal(size=(2, 16, N, 3)).astype(np.float32)
        action = rng.integers(0, 2, (16, N))
        next_obs = noise.copy()
        next_obs[..., 0] = obs[..., 0] + 2.0 * action - 1.0
        batch = make_batch(
            16, N, obs=jnp.array(obs), next_obs=jnp.array(next_obs), action=jnp.array(action)
        )
        before = state[0]
        state, after, metrics = applied(update, state, batch)
        history.append(metrics["losses/icm_inverse_loss"])
    forward, _ = nets.errors(before, batch)
    np.testing.assert_allclose(after.extras["intrinsic_reward"], forward, rtol=1e-4, atol=1e-6)
    assert history[0] > 0.5 and np.mean(history[-10:]) < 0.25


@pytest.mark.long
def test_icm_reads_actions_of_a_box(make_batch):
    nets = networks.dynamics(BOX, spaces.Box(-1.0, 1.0, (2,)), hidden=(8,), size=4)
    update = updates.icm(nets, optax.adam(1e-3))
    rng = np.random.default_rng(0)
    obs, next_obs = jnp.float32(rng.normal(size=(2, T, N, 3)))
    rewards = []
    for action in jnp.float32(rng.normal(size=(2, T, N, 2))):
        batch = make_batch(T, N, obs=obs, next_obs=next_obs, action=action)
        rewards.append(applied(update, begun(update), batch)[1].extras["intrinsic_reward"])
    assert rewards[0].shape == (T, N) and (rewards[0] != rewards[1]).all()


@pytest.mark.long
def test_returns_that_do_not_end_with_episodes_are_those_of_one_long_episode(make_batch):
    rng = np.random.default_rng(0)

    def value(params, obs, carry):
        return obs.sum(-1), carry

    obs = jnp.float32(rng.normal(size=(T, N, 2)))
    batch = make_batch(T, N, {"carry": ()}, obs=obs, next_obs=jnp.roll(obs, -1, 0))
    batch = batch.annotate(bonus=jnp.float32(rng.normal(size=(T, N))))
    ended = batch.replace(
        terminated=jnp.array(rng.random((T, N)) < 0.3),
        truncated=jnp.array(rng.random((T, N)) < 0.2),
    )
    wanted = updates.gae(value, 0.9, 0.8).apply(
        (), (), batch.put("reward", batch.get("bonus")), None
    )
    through = updates.gae(value, 0.9, 0.8, reward="bonus", prefix="in_", episodic=False)
    found = through.apply((), (), ended, None)
    for name in ("value", "advantage", "target"):
        expected = wanted[2].extras[name]
        np.testing.assert_allclose(found[2].extras[f"in_{name}"], expected, rtol=1e-6)
    assert "advantage" not in found[2].extras and "losses/in_explained_variance" in found[3]
    np.testing.assert_array_equal(found[2].terminated, ended.terminated)


class Vast(probes.DelayedReward):
    """Observations whose squares are infinite."""

    name = "Vast"
    observation_space = spaces.Box(-np.inf, np.inf, (1,))

    def reset(self, key):
        state, obs = super().reset(key)
        return state, jnp.float32(1e30) * (1 + obs)[None]

    def step(self, key, state, action):
        state, obs, *rest = super().step(key, state, action)
        return state, jnp.float32(1e30) * (1 + obs)[None], *rest


@pytest.mark.long
def test_an_intrinsic_reward_that_is_not_finite_stops_training():
    agent = rljax.a2c(Vast(), num_envs=4, rollout_length=4, hidden=(4,), curiosity="icm")
    with pytest.raises(NonFiniteError, match="the intrinsic reward in the environment Vast is not"):
        rljax.train(agent, jax.random.key(0))


def test_a_word_that_does_not_fit_is_said():
    with pytest.raises(UsageError, match="curiosity 'rdn' is not known; did you mean 'rnd'"):
        rljax.ppo(probes.DelayedReward(), curiosity="rdn")
    with pytest.raises(
        UsageError, match="ppo: curiosity 'counts' counts Discrete actions, not Box"
    ):
        rljax.ppo(probes.ContinuousTarget(), curiosity="counts")


@pytest.mark.parametrize("kind", ["counts", pytest.param("rnd", marks=pytest.mark.long)])
def test_curiosity_changes_what_is_learnt_and_not_what_is_reported(kind):
    """A reward that is always 0 says nothing; only curiosity makes a policy of it."""
    make = partial(
        rljax.q_learning, probes.Ring(limit=100), num_envs=4, rollout_length=8, total_env_steps=320
    )
    state, history = rljax.train(make(curiosity=kind), jax.random.key(0))
    plain, plainly = rljax.train(make(), jax.random.key(0))
    assert (state.learner.params > plain.learner.params + 0.05).any()
    # The walk does not depend on actions.
    np.testing.assert_allclose(history["charts/episodic_return"], plainly["charts/episodic_return"])
