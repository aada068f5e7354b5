"""Agents learn real environments, over many seeds and with an interval; minutes, so marked slow."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import trim_mean

import rljax

SEEDS = 64  # With 16, three intervals in ten reach below the gate although the IQM does not.
pytestmark = pytest.mark.slow


def lower_bound(returns, resamples: int = 2_000) -> float:
    """The lower end of a 95% bootstrap interval of the IQM of returns [seeds, episodes].

    Whole seeds are resampled: episodes of one seed share its policy, so they say less than as many
    of different seeds.
    """
    returns = np.asarray(returns, np.float64)
    picks = np.random.default_rng(0).integers(len(returns), size=(resamples, len(returns)))
    return float(np.quantile(trim_mean(returns[picks].reshape(resamples, -1), 0.25, axis=1), 0.025))


@pytest.fixture(scope="module")
def cartpole_agent(cartpole):
    return rljax.vmap(rljax.ppo(cartpole, num_envs=4, rollout_length=128, total_env_steps=150_000))


@pytest.fixture(scope="module")
def train(cartpole_agent):
    """From a step size to the returns [seeds, episodes] before and after training."""

    @jax.jit
    def run(state):
        def step(state, _):
            return cartpole_agent.step(state)[0], None

        return jax.lax.scan(step, state, length=cartpole_agent.num_iterations)[0]

    def play(state, deterministic):
        found = rljax.evaluate(cartpole_agent, state, jax.random.key(1), 32, deterministic)
        assert found.finished.all()
        return found.returns

    def returns(lr: float, seeds: int = SEEDS):
        keys = jax.random.split(jax.random.key(0), seeds)
        start = cartpole_agent.init(keys, replace(cartpole_agent.hparams, lr=lr))
        return play(start, deterministic=False), play(run(start), deterministic=True)

    return returns


def test_ppo_learns_cartpole_and_the_gate_refuses_random_and_frozen_policies(train):
    random, learnt = train(lr=2.5e-4)
    _, frozen = train(lr=0.0, seeds=8)
    assert lower_bound(learnt) > 450
    assert lower_bound(random) < 50
    assert lower_bound(frozen) < 450


def test_the_bound_falls_with_the_spread_over_seeds():
    steady = np.full((SEEDS, 8), 480.0)
    mixed = steady.copy()
    mixed[: SEEDS // 3] = 100.0
    assert lower_bound(steady) == 480.0
    assert lower_bound(mixed) < 450 < np.median(mixed)
