"""The mask of legal actions travels in the observation, and is what it says."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import autoreset, probes, spaces
from rljax.errors import NonFiniteError, UsageError
from rljax.types import MaskedObs


class Stuck(probes.LegalActions):
    """At time 1 no action is legal."""

    name = "Stuck"

    def action_mask(self, state):
        return super().action_mask(state) & (state != 1)


def mask_of(mask, action_space=probes.LegalActions.action_space):
    """An environment whose mask is always the same."""
    return type(
        "Broken",
        (probes.LegalActions,),
        {"name": "Broken", "action_space": action_space, "action_mask": lambda *_: mask},
    )()


def test_observations_carry_the_mask_and_a_state_in_which_nobody_acts_allows_everything():
    env = probes.LegalActions()
    state, obs = autoreset.reset(env, jax.random.key(0))
    assert isinstance(obs, MaskedObs) and obs.legal.tolist() == [True, False, True, False]
    for time in (1, 2, 3):
        before = state
        state, obs, *_ = autoreset.step(env, jax.random.key(0), state, jnp.int32(0))
        even = [time % 2 == 0, time % 2 == 1] * 2
        assert obs.legal.tolist() == (even if time < 3 else [True] * 4) and obs.obs == time % 3
    _, obs, *_, last = autoreset.autoreset(env, jax.random.key(0), before, jnp.int32(0))
    assert obs.legal.tolist() == [True, False, True, False] and last.legal.all()


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (
            mask_of(jnp.ones(3, bool)),
            r"Broken: action_mask gives bool\[3\], where bool\[4\] is due",
        ),
        (mask_of(jnp.ones(4)), r"gives float32\[4\], where bool\[4\] is due"),
        (mask_of([True] * 4), "gives list, where"),
        (mask_of(None, spaces.Box(-1.0, 1.0, (2,))), r"is for Discrete actions, not Box\(2,\)"),
    ],
)
def test_a_mask_of_another_kind_is_said_when_the_agent_is_built_and_by_check_env(env, told):
    with pytest.raises(UsageError, match=told):
        rljax.ppo(env, num_envs=4, rollout_length=4, hidden=(4,))
    [finding] = rljax.check_env(env)
    assert finding.is_error and re.search(told, finding.sentence)


def test_a_mask_without_a_legal_action_stops_training_and_evaluation_and_names_the_environment():
    agent = rljax.q_learning(Stuck(), num_envs=2, rollout_length=2, total_env_steps=40)
    told = "the environment Stuck has an action mask without a legal action"
    with pytest.raises(NonFiniteError, match=f"{told} in iteration 1"):
        rljax.train(agent, jax.random.key(0))
    with pytest.raises(NonFiniteError, match=f"^{told} in an evaluation$"):
        rljax.evaluate(agent, agent.init(jax.random.key(0)), jax.random.key(1), 3)


def test_check_env_plays_legal_actions_and_finds_a_mask_without_one():
    found = rljax.check_env(probes.LegalActions())
    assert not [finding for finding in found if finding.is_error]
    [finding] = [f for f in rljax.check_env(Stuck()) if f.is_error]
    assert "allows no action in a state in which the episode goes on" in finding.sentence
    assert "test_action_masks" in finding.where


def test_an_option_ends_where_its_action_becomes_illegal():
    """Options of random length would repeat an action that the next step forbids."""
    env = probes.LegalActions(length=12)
    agent = rljax.pqn(
        env,
        num_envs=8,
        rollout_length=12,
        num_minibatches=2,
        hidden=(4,),
        exploration="ez_greedy",
        hparams=rljax.pqn.Hparams(epsilon_start=1.0, epsilon_end=1.0, duration_exponent=0.0),
    )
    state = jax.jit(agent.init)(jax.random.key(0))
    _, metrics = jax.jit(agent.step)(state)
    assert 0 < metrics["charts/episodic_return"] <= 12
    assert np.isfinite(metrics["charts/episodic_return"])
