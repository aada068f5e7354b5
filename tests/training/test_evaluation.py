"""Evaluation plays whole episodes, counts each once, and says what it could not finish."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import trim_mean

from rljax import statistics
from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.experiments.hooks import evaluation_row
from rljax.parallel.vmap import vmap
from rljax.training.evaluation import Evaluation, evaluate
from rljax.types import Agent, Learner, State

SHORT, LONG = 2, 60


@dataclass(frozen=True)
class Coin:
    """An episode lasts SHORT or LONG steps; short ones terminate, long ones are truncated.

    The reward is the action, and goes on being paid if an episode is not stopped. The observation
    is the length.
    """

    name = "Coin"
    observation_space = spaces.Discrete(LONG + 1)
    action_space = spaces.Box(-np.inf, np.inf, ())

    def reset(self, key):
        length = jnp.where(jax.random.bernoulli(key), LONG, SHORT)
        return (length, 0), length

    def step(self, key, state, action):
        length, time = state[0], state[1] + 1
        over = time >= length
        return (length, time), length, action, over & (length == SHORT), over & (length == LONG)


class LongWay(Coin):
    """Succeeds where an episode ends that lasted; those that are over go on, and get there late."""

    def success(self, state):
        return state[1] > SHORT


def act(state, obs, carry, key):
    """Every action is a parameter plus the number of the step, which only the carry knows."""
    noise = 0.0 if key is None else jax.random.normal(key, obs.shape)
    return state.learner.params + carry + noise, carry + 1


def totals(parameter: float, lengths):
    """The return of an episode of that policy."""
    lengths = np.asarray(lengths)
    return parameter * lengths + lengths * (lengths - 1) / 2


def never(*_):
    raise AssertionError("evaluation neither starts nor trains an agent")


agent = Agent(Coin(), None, never, never, never, never, act, jnp.zeros, 1, 1)


def state(params) -> State:
    params = jnp.asarray(params, jnp.float32)
    return State(jnp.zeros(params.shape, jnp.int32), None, None, Learner(params, ()), None)


def test_each_environment_plays_exactly_one_whole_episode():
    found = evaluate(agent, state(0.5), jax.random.key(0), num_episodes=256)
    assert found.returns.shape == found.lengths.shape == found.finished.shape == (256,)
    assert set(np.asarray(found.lengths)) == {SHORT, LONG}
    assert found.finished.all()
    np.testing.assert_array_equal(found.returns, totals(0.5, found.lengths))
    summary = found.summary()
    assert summary["mean"] == totals(0.5, found.lengths).mean()
    # Half of all episodes are long; of those that finish in a window of time, hardly any are.
    assert 0.35 < np.mean(found.lengths == LONG) < 0.65


def test_a_population_plays_its_own_episodes_with_its_own_parameters():
    params = np.array([0.0, 1.0, -2.0])
    found = evaluate(vmap(agent), state(params), jax.random.key(0), num_episodes=32)
    assert found.returns.shape == (3, 32)
    np.testing.assert_array_equal(found.returns, totals(params[:, None], found.lengths))
    assert len({tuple(row) for row in np.asarray(found.lengths)}) == 3
    nested = evaluate(vmap(vmap(agent)), state(params[None]), jax.random.key(0), num_episodes=4)
    assert nested.returns.shape == (1, 3, 4)


def test_only_sampled_actions_and_other_keys_change_returns():
    def returns(seed, deterministic):
        return np.asarray(evaluate(agent, state(0.5), jax.random.key(seed), 16, deterministic)[0])

    best, sampled = returns(0, True), returns(0, False)
    np.testing.assert_array_equal(best, returns(0, True))
    np.testing.assert_array_equal(sampled, returns(0, False))
    assert (np.abs(best - sampled) > 1e-3).all()
    assert (best != returns(1, True)).any()


def test_members_of_a_population_sample_different_actions():
    found = evaluate(vmap(agent), state([0.0, 0.0]), jax.random.key(0), 64, deterministic=False)
    noise = np.asarray(found.returns - totals(0.0, found.lengths))
    both_short = np.asarray((found.lengths == SHORT).all(axis=0))
    assert both_short.any()
    assert len(np.unique(noise[:, both_short])) == 2 * both_short.sum()


def test_episodes_beyond_max_steps_are_cut_off_and_reported():
    found = evaluate(agent, state(0.0), jax.random.key(0), num_episodes=32, max_steps=10)
    cut = ~np.asarray(found.finished)
    assert 0 < cut.sum() < 32
    np.testing.assert_array_equal(found.lengths, np.where(cut, 10, SHORT))
    np.testing.assert_array_equal(found.returns, totals(0.0, found.lengths))
    assert found.summary()["unfinished"] == cut.sum()


def played(returns):
    """An evaluation with these returns, of episodes of 7 steps."""
    returns = np.asarray(returns, np.float32)
    return Evaluation(returns, np.full(returns.shape, 7), np.ones(returns.shape, bool))


def test_a_summary_of_one_agent_is_of_its_episodes():
    returns = [0.0, 1.0, 2.0, 101.0]
    assert played(returns).summary(640) == {
        "mean": 26.0,
        "std": pytest.approx(np.std(returns)),
        "episodes": 4,
        "training_env_steps": 640,
        "evaluation_env_steps": 28,
        "returns": returns,
    }
    assert "training_env_steps" not in played(returns).summary()


def test_a_summary_of_a_population_is_of_its_seeds():
    returns = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    means = returns.mean(1, dtype=float)
    summary = played(returns).summary()
    low, high = summary.pop("interval")
    assert low < summary["iqm"] < high and [low, high] == [
        *statistics.interval(statistics.interquartile_mean, means[:, None])
    ]
    assert summary == {
        "mean": pytest.approx(means.mean()),
        "iqm": pytest.approx(trim_mean(means, 0.25)),
        "worst": means.min(),
        "seeds": [
            {"mean": mean, "std": pytest.approx(row.std())}
            for mean, row in zip(means, returns, strict=True)
        ],
        "episodes": 32,
        "evaluation_env_steps": 224,
        "returns": returns.tolist(),
    }


def test_an_interval_of_seeds_is_there_from_five_on_and_never_of_episodes():
    returns = np.random.default_rng(0).normal(size=(5, 64))
    low, high = played(returns).summary()["interval"]
    assert low < returns.mean() < high
    assert "interval" not in played(returns[:4]).summary() | played(returns[0]).summary()


def test_seeds_that_fail_lower_what_the_others_score():
    """One seed that always fails, and three that fail one episode in four."""
    good, bad = 500.0, 10.8
    returns = np.array([[bad] * 64] + [[bad, good, good, good] * 16] * 3, np.float32)
    assert trim_mean([trim_mean(row, 0.25) for row in returns], 0.25) == 500  # as it was scored
    summary = played(returns).summary()
    assert summary["mean"] == pytest.approx(286, abs=0.5)
    assert summary["worst"] == pytest.approx(bad) and summary["iqm"] < 400
    row = evaluation_row(played(returns))["evaluation/return_mean"]
    assert statistics.central(np.array(row)[:, None]) == pytest.approx(286, abs=0.5)


def test_an_episode_succeeds_if_it_ends_at_the_goal():
    long_way = agent._replace(env=LongWay())
    found = evaluate(long_way, state(0.0), jax.random.key(0), num_episodes=32)
    np.testing.assert_array_equal(found.succeeded, found.lengths == LONG)
    assert found.summary()["success_rate"] == np.mean(found.lengths == LONG)
    cut = evaluate(long_way, state(0.0), jax.random.key(0), num_episodes=32, max_steps=10)
    assert not np.any(cut.succeeded)
    members = evaluate(vmap(long_way), state([0.0, 1.0]), jax.random.key(0), num_episodes=16)
    rates = np.mean(members.lengths == LONG, axis=1)
    assert [seed["success_rate"] for seed in members.summary()["seeds"]] == rates.tolist()


def test_without_a_goal_there_is_no_success_rate():
    found = evaluate(agent, state(0.0), jax.random.key(0), num_episodes=4)
    assert found.succeeded is None and "success_rate" not in found.summary()


@pytest.mark.parametrize("counts", [{"num_episodes": 0}, {"max_steps": 0}, {"num_episodes": 2.0}])
def test_counts_below_one_are_refused(counts):
    with pytest.raises(UsageError, match=next(iter(counts))):
        evaluate(agent, state(0.0), jax.random.key(0), **counts)
