"""Environments of JaxMARL give what JaxMARL gives, and say why episodes end."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

import rljax
from rljax.envs.check import check_env
from rljax.errors import UsageError

SPREAD, TAG = "jaxmarl/MPE_simple_spread_v3", "jaxmarl/MPE_simple_tag_v3"
LISTENER, BATTLE = "jaxmarl/MPE_simple_speaker_listener_v4", "jaxmarl/HeuristicEnemySMAX"


def episodes(env, steps: int):
    """Random legal play: for each step what was before, the key, the actions and what came."""
    reset, step = jit(env.reset), jit(env.step)
    mask = jit(env.action_mask) if hasattr(env, "action_mask") else None
    rng, key = np.random.default_rng(0), jax.random.key(0)
    state, _ = reset(key)
    for _ in range(steps):
        key, key_step = jax.random.split(key)
        legal = np.ones((len(env.agents), env.action_space.n)) if mask is None else mask(state)
        action = jnp.array([rng.choice(np.flatnonzero(row)) for row in np.asarray(legal)])
        after = step(key_step, state, action)
        yield state, key_step, action, after
        state = reset(key_step)[0] if after[3] | after[4] else after[0]


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [SPREAD, *(pytest.param(n, marks=pytest.mark.long) for n in (TAG, LISTENER))]
)
def test_every_step_is_jaxmarl_s_own_and_time_truncates(name):
    env = rljax.make(name)
    ends = []
    theirs = jit(env.env.step_env)
    for state, key, action, (after, obs, reward, terminated, truncated) in episodes(env, 30):
        seen, state, paid, dones, _ = theirs(key, state, dict(zip(env.agents, action, strict=True)))
        jax.tree.map(np.testing.assert_array_equal, after, state)
        for i, agent in enumerate(env.agents):
            size = seen[agent].size
            np.testing.assert_allclose(obs[i, :size], seen[agent], rtol=1e-6)
            assert not np.any(obs[i, size:])
            np.testing.assert_allclose(reward[i], paid[agent], rtol=1e-6)
        assert not terminated and truncated == dones["__all__"]
        ends.append(bool(truncated))
    assert np.flatnonzero(ends).tolist() == [25]  # JaxMARL counts 25 steps from the second one on.


def test_teams_are_told_by_the_names_of_opponents():
    assert rljax.make(TAG).teams == ((3,), (0, 1, 2))
    assert rljax.make(SPREAD).teams == ((0, 1, 2),)


def test_an_agent_with_fewer_actions_has_a_mask_and_the_state_is_what_all_observe():
    env = rljax.make(LISTENER)
    state, obs = jit(env.reset)(jax.random.key(0))
    np.testing.assert_array_equal(env.action_mask(state), [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_allclose(env.global_state(state), [*obs[0, :3], *obs[1]], rtol=1e-6)
    assert env.state_space.shape == (14,)


@pytest.mark.long
def test_a_battle_terminates_with_a_side_and_success_is_of_the_allies():
    env = rljax.make(BATTLE, scenario="3m")
    assert env.shared_reward and env.state_space.shape == (72,)
    outcomes = set()
    for _, _, _, (after, obs, reward, terminated, truncated) in episodes(env, 400):
        alive = np.asarray(after.state.unit_alive)
        assert not truncated and terminated == (not alive[:3].any() or not alive[3:].any())
        assert not np.any(np.asarray(obs)[~alive[:3]]) or terminated
        assert np.ptp(reward) == 0
        won = bool(alive[:3].any() and not alive[3:].any())
        assert env.success(after) == won
        # Who is dead can stop, and nothing else.
        assert (np.asarray(env.action_mask(after)).sum(1)[~alive[:3]] == 1).all()
        if terminated:
            outcomes.add(won)
    assert False in outcomes


@pytest.mark.long
def test_a_battle_that_takes_too_long_is_truncated():
    env = rljax.make(BATTLE, scenario="3m", max_steps=3)
    ends = [(bool(x[3][3]), bool(x[3][4])) for x in episodes(env, 4)]
    assert ends == [(False, False)] * 3 + [(False, True)]


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        SPREAD,
        LISTENER,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (BATTLE, "jaxmarl/overcooked")),
    ],
)
def test_check_env_finds_nothing(name):
    assert not check_env(rljax.make(name))


@pytest.mark.long
def test_importing_it_prints_nothing_and_leaves_the_streams_as_they_were():
    code = (
        "import io, sys, rljax; mine = sys.stdout = io.StringIO(); errors = sys.stderr\n"
        f"rljax.make('{SPREAD}'); assert sys.stdout is mine and sys.stderr is errors\n"
        "assert mine.getvalue() == ''"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout == "", run.stderr


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("jaxmarl/MPE_simple_spred_v3", {}, "did you mean 'jaxmarl/MPE_simple_spread_v3'"),
        ("jaxmarl/hanabi", {}, "jaxmarl/hanabi"),
        (BATTLE, {"scenario": "3z"}, "scenario"),
        (SPREAD, {"speed": 2}, "has no parameter 'speed'"),
    ],
)
def test_what_is_not_there_is_refused(name, params, said):
    with pytest.raises(UsageError, match=said):
        rljax.make(name, **params)
