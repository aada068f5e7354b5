"""What an update in front of an agent is given: every step once, as it arrives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax import updates
from rljax.actors import value_actor
from rljax.agents import Schedule, off_policy
from rljax.envs import probes
from rljax.errors import UsageError
from rljax.networks import q_network, value_head
from rljax.ops import epsilon_greedy
from rljax.replay import uniform
from rljax.types import PerEnvironment, Update

N, T, WARMUP = 4, 3, 24
small = {"num_envs": N, "rollout_length": T}
replayed = {"buffer_size": 60, "batch_size": 8, "warmup_env_steps": WARMUP, "hidden": (8,)}
AGENTS = {
    "on_policy": lambda env, **more: rljax.a2c(env, **small, hidden=(8,), **more),
    "off_policy": lambda env, **more: rljax.dqn(env, **small, **replayed, **more),
}


def counting() -> Update:
    """Counts the steps of all environments, and those of each one's episode so far."""

    def init(params, key):
        return jnp.float32(0), PerEnvironment({"length": jnp.int32(0)})

    def apply(params, state, batch, key):
        total, kept = state

        def step(length, done):
            return jnp.where(done, 0, length + 1), None

        length = jax.lax.scan(step, kept.value["length"], batch.done)[0]
        total = total + rljax.collectives.psum(jnp.float32(batch.reward.size))
        return params, (total, PerEnvironment({"length": length})), batch, {}

    return Update(init, apply)


def counts(state):
    """Those of `counting`, in front of an agent's updates."""
    (total,) = (x for x in jax.tree.leaves(state.learner.update_state[0])[:1])
    ((kept),) = state.worker.update_state
    return float(total), kept["length"]


@pytest.mark.parametrize("kind", AGENTS)
def test_every_step_is_seen_once_and_each_environment_keeps_its_own(kind):
    agent = AGENTS[kind](probes.DelayedReward(), first=counting(), total_env_steps=1000)
    state, step = jit(agent.init)(jax.random.key(0)), jit(agent.step)
    assert counts(state)[0] == agent.warmup_env_steps
    for iteration in range(1, 4):
        state, _ = step(state)
        total, length = counts(state)
        assert total == agent.warmup_env_steps + iteration * N * T
        assert length.shape == (N,)
        np.testing.assert_array_equal(length, state.worker.episode_length)


@pytest.mark.parametrize("kind", AGENTS)
@pytest.mark.long
def test_what_environments_keep_is_spread_with_them(kind):
    agent = AGENTS[kind](probes.DelayedReward(), first=counting(), total_env_steps=1000)
    spread = rljax.pmap(agent, 2)
    state = jit(spread.init)(jax.random.key(0))
    state, metrics = jit(spread.step)(state)
    total, length = counts(state)
    assert total == agent.warmup_env_steps + N * T and metrics["replicas/differ"] == 0
    assert [shard.data.shape for shard in length.addressable_shards] == [(N // 2,)] * 2
    np.testing.assert_array_equal(length, state.worker.episode_length)


@pytest.mark.long
def test_what_an_update_makes_of_fresh_experience_is_what_the_replay_gives():
    """A reward of 5 that is taken off when it is fresh is not there in any sample."""

    def free(params, batch, key):
        return batch.replace(reward=jnp.zeros_like(batch.reward)), {}

    env = probes.ConstantReward()
    hparams = rljax.dqn.Hparams(lr=0.1, gamma=0.0)
    values = []
    for first in (updates.stateless(free), None):
        agent = AGENTS["off_policy"](env, first=first, total_env_steps=600, hparams=hparams)
        state, history = rljax.train(agent, jax.random.key(0))
        values.append(history["losses/q_values"][-1])
    assert abs(values[0]) < 0.05 and abs(values[1] - 1.0) < 0.05


def test_samples_do_not_tell_their_environments_and_an_update_that_asks_is_refused():
    env = probes.DelayedReward()
    q = q_network(env, hidden=(8,), head=value_head("scalar"))
    actor = value_actor(q, lambda hparams, progress: lambda values: epsilon_greedy(values, 0.1))
    with pytest.raises(UsageError, match="reads fresh experience, and not samples of a replay"):
        off_policy(
            env,
            actor=actor,
            update=lambda hparams, progress: counting(),
            replay=lambda hparams, progress: uniform(60, 8),
            hparams=rljax.dqn.Hparams(),
            schedule=Schedule(**small, total_env_steps=600, warmup_env_steps=WARMUP),
        )


@pytest.mark.long
def test_dqn_s_first_update_is_normalised_by_the_warm_up():
    agent = AGENTS["off_policy"](
        rljax.make("CartPole-v1"), normalize_observations=True, total_env_steps=600
    )
    state = jit(agent.init)(jax.random.key(0))
    statistics = state.learner.params["online"]["statistics"]
    assert statistics.count == WARMUP and (statistics.variance < 1).all()
    state, _ = jit(agent.step)(state)
    assert state.learner.params["online"]["statistics"].count == WARMUP + N * T


@pytest.mark.parametrize("name", ["reward", "intrinsic_reward"])
def test_rewards_are_scaled_by_the_deviation_of_discounted_returns(name, make_batch):
    """Returns of intrinsic rewards go on where an episode ends."""
    gamma, rng = 0.9, np.random.default_rng(0)
    episodic = name == "reward"
    update = updates.reward_scaling(gamma, reward=name, episodic=episodic)
    shared, kept = update.init((), jax.random.key(0))
    state = shared, PerEnvironment(jnp.broadcast_to(kept.value, (N,)))
    so_far, seen = np.zeros(N), []
    for _ in range(3):
        reward, done = rng.normal(3.0, 2.0, (T, N)), rng.uniform(size=(T, N)) < 0.3
        for t in range(T):
            so_far = gamma * so_far + reward[t]
            seen.append(so_far)
            so_far = np.where(done[t] & episodic, 0.0, so_far)
        batch = make_batch(T, N, terminated=jnp.array(done)).put(name, jnp.float32(reward))
        _, state, after, _ = update.apply((), state, batch, jax.random.key(0))
        np.testing.assert_allclose(after.get(name), reward / np.std(seen), rtol=1e-4)
        np.testing.assert_allclose(state[1].value, so_far, rtol=1e-5)
