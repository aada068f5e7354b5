"""Agents solve the probe environments, and what is known to be broken does not."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax import networks
from rljax.agents.ppo import Hparams
from rljax.envs import probes, spaces

GAMMA = 0.9
SEEDS = (0, 1)
HIDDEN = (16,)
# Compiling takes longer than training here.
jit = {"compiler_options": {"xla_backend_optimization_level": 0}}


@dataclass(frozen=True)
class Altered:
    """Another environment, but for what a subclass changes."""

    env: Any

    def __getattr__(self, name: str):
        return getattr(self.env, name)


class TruncatedIsTerminated(Altered):
    """The fault of an agent that has one flag for both: nothing bootstraps."""

    def step(self, key, state, action):
        state, obs, reward, terminated, truncated = self.env.step(key, state, action)
        return state, obs, reward, terminated | truncated, jnp.bool_(False)


class ResetTooEarly(Altered):
    """The fault of bootstrapping from the first observation of the next episode."""

    def step(self, key, state, action):
        state, obs, reward, terminated, truncated = self.env.step(key, state, action)
        obs = jnp.where(truncated, self.env.reset(key)[1], obs)
        return state, obs, reward, terminated, truncated


class Faint(Altered):
    """Observations so far from 0, and so close together, that they need normalising."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,))

    def reset(self, key):
        state, obs = self.env.reset(key)
        return state, 30.0 + 0.01 * obs

    def step(self, key, state, action):
        state, obs, *rest = self.env.step(key, state, action)
        return state, 30.0 + 0.01 * obs, *rest


@cache
def program(env, env_steps: int, options: tuple):
    agent = rljax.ppo(
        env,
        total_env_steps=env_steps,
        hparams=Hparams(lr=1e-2, gamma=GAMMA),
        num_envs=16,
        rollout_length=16,
        hidden=HIDDEN,
        **dict(options),
    )

    def run(key, hparams):
        state = agent.init(key, hparams)
        return jax.lax.scan(lambda s, _: agent.step(s), state, length=agent.num_iterations)

    return agent, jax.jit(run, **jit)


def train(env, env_steps: int, *, hparams: dict | None = None, **options):
    """The agent, and the state and the metrics [iterations] of each seed."""
    agent, run = program(env, env_steps, tuple(options.items()))
    hparams = replace(agent.hparams, **(hparams or {}))
    return agent, [run(jax.random.key(seed), hparams) for seed in SEEDS]


def worst_return(*args, **options) -> float:
    """The return per episode in the last iterations, actions sampled, of the worst seed."""
    _, runs = train(*args, **options)
    # All episodes of a probe are equally long, so that this mean leans towards none.
    return min(metrics["charts/episodic_return"][-4:].mean() for _, metrics in runs)


def values(env, observations, env_steps: int, **options) -> np.ndarray:
    """What the critic of each seed says of each observation [seeds, B]."""
    critic = networks.actor_critic(env, hidden=HIDDEN).value
    _, runs = train(env, env_steps, **options)
    return np.stack([critic(state.learner.params, observations, ())[0] for state, _ in runs])


clock, places, signs = np.arange(5), np.arange(8), np.array([-1.0, 1.0])
delayed = probes.DelayedReward()
VALUES = {
    "truncated": (probes.ConstantReward(), clock, np.full(5, 1 / (1 - GAMMA)), {}),
    "terminated": (
        probes.ConstantReward(truncates=False),
        clock,
        np.cumsum(GAMMA**clock)[::-1],
        {},
    ),
    "ring": (probes.Ring(), places, GAMMA ** places[::-1] / (1 - GAMMA**8), {}),
    "observed": (probes.ObservedReward(), signs[:, None], signs, {}),
    "delayed clip_value": (delayed, clock[:3], GAMMA ** clock[2::-1], {"clip_value": True}),
}
VALUES_QUICKLY = ("truncated",)
"""Rows that always run."""


@pytest.mark.parametrize(
    "name",
    [n if n in VALUES_QUICKLY else pytest.param(n, marks=pytest.mark.long) for n in VALUES],
)
def test_values_converge_to_the_discounted_sum(name):
    env, observations, expected, options = VALUES[name]
    found = values(env, observations, 30_000, **options)
    np.testing.assert_allclose(found, np.tile(expected, (len(SEEDS), 1)), rtol=0.01)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (TruncatedIsTerminated, "truncated"),
        pytest.param(ResetTooEarly, "ring", marks=pytest.mark.long),
    ],
)
def test_a_wrong_bootstrap_gives_wrong_values(fault, name):
    env, observations, expected, _ = VALUES[name]
    found = values(fault(env), observations, 30_000)
    assert (np.abs(found / expected - 1).max(axis=1) > 0.1).all()


match, recall = probes.MatchingAction(), probes.Recall()
target = probes.ContinuousTarget()
# The threshold, next to what agents without the faculty in question get.
SOLVED = {
    "match": (match, 10_000, 0.9, {}),  # 0.33
    "match kl_penalty": (match, 10_000, 0.9, {"objective": "kl_penalty"}),
    "match stop_at_kl": (match, 10_000, 0.9, {"stop_at_kl": True}),
    "delayed": (delayed, 30_000, 0.9, {}),  # 0.5
    "recall gru": (recall, 20_000, 0.9, {"network": "gru"}),  # 0
    "target": (target, 20_000, -0.05, {}),  # -0.75
    "target tanh_normal": (target, 20_000, -0.05, {"distribution": "tanh_normal"}),
    "faint": (Faint(target), 20_000, -0.05, {"normalize_observations": True}),
}


QUICK = ("match",)
"""Rows that always run."""
ALIKE = ("match stop_at_kl", "delayed", "target")
"""Rows that have much in common with others."""


@pytest.mark.parametrize(
    "name",
    [
        n
        if n in QUICK
        else pytest.param(n, marks=pytest.mark.slow if n in ALIKE else pytest.mark.long)
        for n in SOLVED
    ],
)
def test_policies_earn_the_reward(name):
    env, env_steps, threshold, options = SOLVED[name]
    assert worst_return(env, env_steps, **options) > threshold


@pytest.mark.parametrize(
    ("name", "hparams", "options"),
    [
        ("match", {"lr": 0.0}, {}),
        ("delayed", {"gamma": 0.0}, {}),
        ("recall gru", {}, {"network": "mlp"}),
        ("faint", {}, {"normalize_observations": False}),
    ],
)
@pytest.mark.long
def test_agents_without_what_it_takes_do_not(name, hparams, options):
    env, env_steps, threshold, usual = SOLVED[name]
    chance = {"match": 1 / 3, "delayed": 0.5, "recall gru": 0.0, "faint": -0.75}[name]
    earned = worst_return(env, env_steps, hparams=hparams, **{**usual, **options})
    assert earned < (threshold + chance) / 2


@pytest.mark.long
def test_memory_is_carried_through_evaluation():
    agent, runs = train(recall, 20_000, network="gru")
    assert (rljax.evaluate(agent, runs[0][0], jax.random.key(0)).returns == 1.0).all()


@pytest.mark.long
def test_the_kl_options_take_hold():
    _, runs = train(match, 10_000, objective="kl_penalty")
    assert all(len(set(np.asarray(metrics["losses/kl_coef"]))) > 1 for _, metrics in runs)
    _, runs = train(match, 10_000, stop_at_kl=True)
    for _, metrics in runs:
        made = np.asarray(metrics["losses/updates_made"])
        assert (made < 1).any() and (made > 0).all()
