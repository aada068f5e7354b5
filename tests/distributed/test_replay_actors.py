"""Actors that fill a replay while the learner learns."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from states import different_leaves
from walks import Walks, walks

import rljax
from rljax.distributed.actors import Actor, Share
from rljax.distributed.learner import behaviour_of
from rljax.replay import packing

N, T = 4, 4
SIZES = {"num_envs": N, "rollout_length": T, "total_env_steps": 12 * N * T, "hidden": (8,)}
REPLAY = {"buffer_size": 256, "batch_size": 8, "warmup_env_steps": 4 * N * T}


def apex(env=None, **options):
    return rljax.apex(env or walks(), **{**SIZES, **REPLAY, "updates_per_iteration": 2, **options})


def uneven():
    """Walks whose first simulator is slow, so that trajectories come in another order."""
    made: list[int] = []

    def make(num_envs):
        made.append(num_envs)
        return Walks(num_envs, seconds=0.02 if len(made) == 1 else 0.0)

    return replace(walks(), simulator=make)


@pytest.fixture(scope="module")
def trained():
    return rljax.train(rljax.distribute(apex(uneven()), 2), jax.random.key(0))


@pytest.mark.long
def test_the_learner_learns_while_actors_act(trained):
    state, history = trained
    assert int(state.iteration) == 8 and history["charts/actor_failures"].sum() == 0
    assert list(history["charts/policy_lag"]) == [0, *[1] * 7]
    assert np.isfinite(history["losses/td_loss"]).all()


def rows_that_go_on(state, batches=12):
    """What a replay stores [N, L], each row of which goes on where the one before it ended."""
    replay = state.worker.replay
    assert (np.asarray(replay.size) == batches * T).all()
    rows = packing.unpack(replay.layout, replay.storage[:, : batches * T])
    rows = jax.tree.map(np.asarray, rows)
    goes_on = ~(rows.terminated | rows.truncated)[:, :-1]
    assert goes_on.sum() > N
    np.testing.assert_array_equal(rows.next_obs[:, :-1][goes_on], rows.obs[:, 1:][goes_on])
    # Rewards tell the actions that simulators were given.
    np.testing.assert_array_equal(rows.reward, 10 * rows.action + 1)
    return rows


def cut_off(rows):
    """Where an episode was cut off [N, L]: a walk that goes on is truncated after 4 steps alone."""
    return rows.truncated & (rows.next_obs[..., 2] < 4)


@pytest.mark.long
def test_each_row_of_the_replay_goes_on_where_it_ended(trained):
    assert not cut_off(rows_that_go_on(trained[0])).any()


@pytest.mark.long
def test_any_number_of_actors_gives_the_same_bits_with_a_lag(trained):
    state, _ = rljax.train(apex(), jax.random.key(0))
    assert not different_leaves(state, trained[0])


@pytest.mark.long
def test_waiting_for_the_actors_is_another_run(trained):
    agent = rljax.distribute(apex()._replace(may_lag=False), 2)
    state, history = rljax.train(agent, jax.random.key(0))
    assert (history["charts/policy_lag"] == 0).all()
    assert different_leaves(state, trained[0])


def test_an_actor_s_environments_have_the_epsilons_of_their_places():
    # The first environment explores, the others hardly ever do.
    hparams = rljax.apex.Hparams(epsilon_base=0.9, epsilon_alpha=200.0)
    env = walks()
    agent = apex(env, hparams=hparams)
    behaviour = behaviour_of(jax.jit(agent.init)(jax.random.key(0)))
    differs = []
    for first in (0, 2):
        actor = Actor(agent, env, Share(first, 2, N), 200, [first, first + 1])
        key = np.asarray(jax.random.key_data(jax.random.key(1)))
        batch = actor.collect(behaviour, key, explore=False).batch
        values = batch.extras["action_values"]
        assert values.shape == (200, 2, 4)
        differs += [*(values.argmax(-1) != batch.action).mean(axis=0)]
    assert differs[0] > 0.5 and max(differs[1:]) < 0.02


@pytest.mark.long
def test_a_run_that_goes_on_trains_the_rest():
    agent = rljax.distribute(apex(), 2)
    half = rljax.train(agent._replace(num_iterations=3), jax.random.key(0))[0]
    whole, history = rljax.train(agent, half)
    assert int(whole.iteration) == 8 and list(history["iteration"]) == [4, 5, 6, 7, 8]
    assert list(history["charts/policy_lag"]) == [0, 1, 1, 1, 1]


def random_actions(env=None, may_lag=True):
    """An agent that always acts at random, so that few episodes end where a batch does."""
    hparams = rljax.apex.Hparams(epsilon_base=1.0, epsilon_alpha=0.0)
    return apex(env, hparams=hparams)._replace(may_lag=may_lag)


@pytest.mark.long
@pytest.mark.parametrize("may_lag", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_resumed_run_joins_no_episodes_in_its_replay(may_lag):
    agent = rljax.distribute(random_actions(may_lag=may_lag), 2)
    half = rljax.train(agent._replace(num_iterations=3), jax.random.key(0))[0]
    rows = rows_that_go_on(rljax.train(agent, half)[0])
    env, row = np.nonzero(cut_off(rows))
    assert len(env) and set(row) == {7 * T - 1}


@pytest.mark.long
@pytest.mark.parametrize("may_lag", [True, pytest.param(False, marks=pytest.mark.long)])
def test_an_actor_in_the_place_of_another_joins_no_episodes_in_the_replay(may_lag):
    made: list[int] = []
    # In the second step of the ninth batch. Before it, episodes of both actors are not over.
    env = walks(fails_at=8 * T + 2, lives=made)
    agent = rljax.distribute(random_actions(env, may_lag), 2)
    with pytest.warns(UserWarning, match=r"actor \d failed and is replaced") as told:
        state, history = rljax.train(agent, jax.random.key(0))
    assert made == [2, 2, 2] and history["charts/actor_failures"].sum() == 1
    env, row = np.nonzero(cut_off(rows_that_go_on(state)))
    assert set(row) == {8 * T - 1}
    replaced = next(int(str(w.message).split()[1]) for w in told if "replaced" in str(w.message))
    assert {*env} <= {2 * replaced, 2 * replaced + 1}


@pytest.mark.slow
def test_a_replay_that_is_spread_over_devices_joins_no_episodes():
    def train(agent):
        half = rljax.train(agent._replace(num_iterations=1), jax.random.key(0))[0]
        return rows_that_go_on(rljax.train(agent._replace(num_iterations=2), half)[0], 6)

    rows = train(rljax.pmap(random_actions(), 2))
    assert cut_off(rows).any()
    np.testing.assert_array_equal(cut_off(rows), cut_off(train(random_actions())))


@pytest.mark.slow
def test_actors_of_continuous_actions_keep_their_noise_and_any_number_gives_the_same_bits():
    pytest.importorskip("gymnasium")
    atoms = {"v_min": -100.0, "v_max": 0.0, "num_atoms": 5, "n_step": 2}
    states = []
    for actors in (1, 2):
        env = rljax.make("gymnasium/Pendulum-v1")
        noise = {"noise": "ornstein_uhlenbeck", "hparams": rljax.d4pg.Hparams(noise_ratio=0.1)}
        agent = rljax.d4pg(env, **SIZES, **REPLAY, **atoms, **noise)
        state, history = rljax.train(rljax.distribute(agent, actors), jax.random.key(0))
        assert np.isfinite(history["losses/td_loss"]).all()
        states.append(state)
    assert int(states[0].iteration) == 8
    assert not different_leaves(states[0].learner, states[1].learner)
