"""Actors and a learner: the same bits however the work is shared, and what each mode promises."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from states import different_leaves
from walks import walks

import rljax
from rljax.distributed import drivers
from rljax.distributed.learner import HostTraining
from rljax.envs.spaces import Box
from rljax.errors import UsageError
from rljax.types import HostActors

N, T = 4, 4
SIZES = {"num_envs": N, "rollout_length": T, "total_env_steps": 6 * N * T, "hidden": (8,)}


def ppo(env=None):
    return rljax.ppo(env or walks(), **SIZES, num_epochs=1, num_minibatches=1)


def dqn():
    return rljax.dqn(walks(), **SIZES, buffer_size=64, batch_size=8, warmup_env_steps=2 * N * T)


@pytest.fixture(scope="module")
def with_one_actor():
    return rljax.train(ppo(), jax.random.key(0))


@pytest.mark.long
def test_any_number_of_actors_gives_the_same_bits(with_one_actor):
    state, history = with_one_actor
    again, metrics = rljax.train(rljax.distribute(ppo(), 2), jax.random.key(0))
    assert not different_leaves(state, again)
    for name in ("charts/episodic_return", "charts/episodes", "losses/value_loss"):
        np.testing.assert_array_equal(history[name], metrics[name])


@pytest.mark.long
def test_what_is_reported_is_what_happened(with_one_actor):
    _, history = with_one_actor
    assert list(history["env_steps"]) == [N * T * i for i in range(1, 7)]
    # Each step gives 10 times the action, and 1; an episode has 1 to 4 of them.
    assert (history["charts/episodes"] >= N).all()
    lengths = history["charts/episodic_length"]
    assert (lengths >= 1).all() and (lengths <= 4).all()
    assert (history["charts/episodic_return"] >= lengths).all()
    assert (history["charts/policy_lag"] == 0).all() and (history["charts/actors"] == 1).all()


@pytest.mark.long
def test_an_agent_with_replay_warms_up_first():
    agent = rljax.distribute(dqn(), 2)
    fresh = jax.jit(agent.init)(jax.random.key(0))
    assert (fresh.worker.replay.size == 0).all()
    states = [state for state, _ in map(copied, rljax.iterate(agent, fresh, 1))]
    assert len(states) == agent.num_iterations == 4
    sizes = [int(state.worker.replay.size[0]) for state in states]
    assert sizes == [min(16, T * (2 + i)) for i in range(1, 5)]


@pytest.mark.long
def test_replay_holds_what_the_actors_brought_and_bits_do_not_depend_on_them():
    one, two = (rljax.train(rljax.distribute(dqn(), k), jax.random.key(1))[0] for k in (1, 2))
    assert not different_leaves(one, two)
    assert different_leaves(one, rljax.train(dqn(), jax.random.key(2))[0])


@pytest.mark.long
def test_an_agent_that_may_lag_learns_while_actors_act_and_lags_no_more_than_it_may():
    agent = ppo(walks(seconds=0.001))._replace(may_lag=True)
    for most in (1, 3):
        _, history = rljax.train(rljax.distribute(agent, 2, max_lag=most), jax.random.key(0))
        lag = history["charts/policy_lag"]
        assert 0 < lag.max() <= most


@pytest.mark.long
def test_a_resumed_run_does_the_work_that_is_left():
    agent = ppo()
    half = rljax.train(agent._replace(num_iterations=3), jax.random.key(0))[0]
    whole, history = rljax.train(agent, half)
    assert int(whole.iteration) == 6 and list(history["iteration"]) == [4, 5, 6]


@pytest.mark.long
def test_pmap_spreads_the_learner():
    agent = rljax.pmap(ppo(), 2)
    state, history = rljax.train(agent, jax.random.key(0))
    assert len(state.worker.obs.sharding.device_set) == 2
    assert np.isfinite(history["losses/value_loss"]).all()


def test_what_a_compiled_program_cannot_step_says_who_can():
    agent = ppo()
    with pytest.raises(UsageError, match="is a simulator of the host.*rljax.train"):
        agent.step(jax.jit(agent.init)(jax.random.key(0)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actors": 3}, "num_envs = 4 does not divide by actors = 3"),
        ({"actors": 0}, "actors must be a whole number of at least 1"),
        ({"driver": "thread"}, "did you mean 'threads'"),
        ({"ray_address": "auto"}, "ray_address is for Ray"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        rljax.distribute(ppo(), **arguments)


def test_actors_that_run_ahead_do_not_mix_what_is_kept_of_environments():
    agent = rljax.impala(walks(), **SIZES, first=rljax.updates.reward_scaling(0.99))
    with pytest.raises(UsageError, match="come in any order.*make actors 1"):
        rljax.distribute(agent, 2)
    assert rljax.distribute(agent, 1).actors.number == 1


@pytest.mark.long
def test_more_actors_than_cores_are_told_of(monkeypatch):
    for there, told in ((2, []), (1, ["2 actors on threads share 1 processor core(s)"])):
        monkeypatch.setattr(drivers, "cores", lambda there=there: there)
        warnings: list[str] = []
        training = HostTraining(rljax.distribute(ppo(), 2), warnings.append)
        training.run(jax.jit(training.agent.init)(jax.random.key(0)), 1)
        training.close()
        assert [text.split(":")[0] for text in warnings] == told


def test_an_environment_in_jax_has_no_actors(cartpole):
    with pytest.raises(UsageError, match="rljax.pmap"):
        rljax.distribute(rljax.ppo(cartpole, **SIZES), 2)


def test_a_population_has_no_simulator_of_its_own():
    with pytest.raises(UsageError, match="one seed at a time"):
        rljax.vmap(ppo())


def copied(chunk):
    state, row = chunk
    return jax.tree.map(np.array, replace(state, key=jax.random.key_data(state.key))), row


def test_the_defaults_of_distribute_are_those_of_an_agent_that_is_not_distributed():
    assert rljax.distribute(ppo()).actors == HostActors()


def test_a_simulator_that_is_not_as_described_is_refused():
    env = replace(walks(), observation_space=Box(-1.0, 1.0, (2,)))
    with pytest.raises(
        UsageError, match=r"Walks observes \(\(4, 3\), 'float32'\).*says \(\(4, 2\)"
    ):
        rljax.train(ppo(env), jax.random.key(0))
