"""Ape-X on the device: what its replay has from the start, and on several devices."""

import jax
import numpy as np
import pytest
from states import jit

import rljax
from rljax.replay import packing, sum_tree

N, T, STEPS, GAMMA = 4, 4, 3, 0.9
SIZES = {"num_envs": N, "rollout_length": T, "updates_per_iteration": 2, "hidden": (8,)}
REPLAY = {"buffer_size": 256, "batch_size": 8, "warmup_env_steps": 4 * N * T}


def apex(env, **options):
    hparams = rljax.apex.Hparams(gamma=GAMMA)
    return rljax.apex(env, **{**SIZES, **REPLAY, "hparams": hparams, **options})


def stored(state):
    """What the replay has, [N, rows], and the priority of each row [N, rows]."""
    replay = state.worker.replay
    rows = int(replay.size[0])
    forest = replay.priorities.forest
    priorities = np.asarray(forest).reshape(len(forest), -1)
    priorities = priorities[:, sum_tree._first_leaf(sum_tree._depth(forest)) :][:, :rows]
    return jax.tree.map(np.asarray, packing.unpack(replay.layout, replay.storage[:, :rows])), (
        priorities
    )


@pytest.mark.long
def test_each_step_has_the_error_of_who_acted_as_its_first_priority(walk):
    agent = apex(walk)
    state = jit(agent.init)(jax.random.key(0))
    rows, found = stored(state)

    def values(obs):
        """By the parameters that acted, which are those of the start."""
        flat = obs.reshape(-1, obs.shape[-1])
        extras = agent.policy(state, flat, (), jax.random.key(0))[1]
        return np.float64(extras["action_values"]).reshape(*obs.shape[:2], -1)

    now, following = values(rows.obs), values(rows.next_obs).max(-1)
    ends, done = rows.terminated.sum(), rows.terminated | rows.truncated
    assert ends > 0 and rows.truncated.sum() > 0
    for n, first in np.ndindex(found.shape):
        if first > found.shape[1] - STEPS:
            assert found[n, first] == 0  # Its window is not complete.
            continue
        total, factor = 0.0, 1.0
        end_of_rollout = first - first % T + T
        for row in range(first, min(first + STEPS, end_of_rollout)):
            total, factor = total + factor * rows.reward[n, row], factor * GAMMA
            if done[n, row]:
                break
        target = total + factor * following[n, row] * (not rows.terminated[n, row])
        error = abs(target - now[n, first, rows.action[n, first]])
        np.testing.assert_allclose(found[n, first], (error + 1e-6) ** 0.6, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_without_initial_priorities_new_steps_have_the_largest(walk):
    state = jit(apex(walk, initial_priorities=False).init)(jax.random.key(0))
    assert np.isin(stored(state)[1], [0.0, 1.0]).all()


@pytest.mark.slow
def test_two_devices_share_the_environments_and_their_epsilons(walk):
    # The first environment explores, the others hardly ever do.
    hparams = rljax.apex.Hparams(epsilon_base=0.9, epsilon_alpha=200.0, lr=0.0)
    alone = apex(walk, hparams=hparams, total_env_steps=1000)
    agent = rljax.pmap(alone, 2)
    state = jax.jit(agent.init)(jax.random.key(0))
    before = int(state.worker.replay.size[0])
    step = jax.jit(agent.step)
    for _ in range(8):
        state, metrics = step(state)
        assert metrics["replicas/differ"] == 0
    rows, _ = stored(jax.device_get(state))
    obs, action = rows.obs[:, before:], rows.action[:, before:]
    greedy = alone.act(state, obs.reshape(-1, 3), (), None)[0].reshape(action.shape)
    differs = (np.asarray(greedy) != action).mean(axis=1)
    assert differs[0] > 0.3 and (differs[1:] < 0.1).all()
    assert (np.asarray(state.worker.replay.size) == before + 8 * T).all()


def test_its_parts_can_be_taken_away(walk):
    plain = {"double": False, "dueling": False, "n_step": 1, "exploration": "epsilon_greedy"}
    agent = apex(walk, **plain, prioritized=False, initial_priorities=False)
    assert agent.may_lag


@pytest.mark.long
def test_rewards_that_a_first_update_changes_count_for_priorities(walk):
    def add(params, batch, key):
        return batch.replace(reward=batch.reward + 100.0), {}

    agent = apex(walk, first=rljax.updates.stateless(add))
    # A step gives 31 at most, and three of them fewer than 100 without that.
    assert stored(jit(agent.init)(jax.random.key(0)))[1].max() > 150**0.6
