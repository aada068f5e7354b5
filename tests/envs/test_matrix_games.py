"""Games of tables pay what their papers say."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs.matrix_games import MatrixGame, shared
from rljax.errors import UsageError

KEY = jax.random.key(0)


def played(env, *joint):
    """The rewards [T, M], ends [T] and observations [T + 1, M, ...] of joint actions."""
    state, obs = env.reset(KEY)
    seen, rewards, ends = [obs], [], []
    for action in joint:
        state, obs, reward, terminated, truncated = env.step(KEY, state, jnp.array(action))
        assert reward.shape == (len(env.agents),) and not truncated
        assert state.action.tolist() == list(action)
        seen.append(obs)
        rewards.append(reward)
        ends.append(bool(terminated))
    return np.array(rewards), ends, np.array(seen)


CLIMBING = {(0, 0): 11, (1, 1): 7, (2, 2): 5, (2, 1): 6, (0, 1): -30, (1, 0): -30}
PENALTY = {(0, 0): 10, (2, 2): 10, (1, 1): 2, (0, 2): -100, (2, 0): -100}


@pytest.mark.parametrize("name, paid", [("Climbing", CLIMBING), ("Penalty", PENALTY)])
def test_games_of_a_team_pay_both_what_the_paper_says(name, paid):
    env = rljax.make(name)
    assert env.teams == ((0, 1),) and env.shared_reward and env.name == name
    assert env.action_space.n == 3 and env.observation_space.shape == (1,)
    for joint in product(range(3), repeat=2):
        rewards, ends, seen = played(env, joint)
        assert rewards.tolist() == [[paid.get(joint, 0)] * 2] and ends == [True]
        assert seen.tolist() == [[[1.0], [1.0]], [[0.0], [0.0]]]


def test_a_prisoner_who_defects_alone_is_paid_most():
    env = rljax.make("PrisonersDilemma", rounds=4)
    assert env.teams == ((0,), (1,)) and not env.shared_reward
    rewards, ends, seen = played(env, (0, 0), (0, 1), (1, 0), (1, 1))
    assert rewards.tolist() == [[3, 3], [0, 5], [5, 0], [1, 1]]
    assert ends == [False, False, False, True]
    assert (seen[:4] == np.eye(4)[:, None]).all() and not seen[4].any()
    state, _ = env.reset(KEY)
    assert (env.global_state(state) == seen[0, 0]).all() and env.state_space.shape == (4,)


def test_a_table_of_ones_own_may_have_any_number_of_agents():
    table = np.arange(8.0).reshape(2, 2, 2)
    env = MatrixGame(shared(table, agents=3))
    assert env.agents == ("agent_0", "agent_1", "agent_2") and env.teams == ((0, 1, 2),)
    assert played(env, (1, 0, 1))[0].tolist() == [[5, 5, 5]]
    assert env == MatrixGame(shared(table, agents=3)) and hash(env) == hash(MatrixGame(env.payoffs))


@pytest.mark.parametrize("payoffs", [[1, 2], np.zeros((2, 3, 2)), np.zeros((2, 2, 3)), 7])
def test_what_is_no_table_is_refused(payoffs):
    with pytest.raises(UsageError, match=r"MatrixGame: payoffs must be \[A, ..., A, M\]"):
        MatrixGame(payoffs)


@pytest.mark.parametrize("payoffs", [[[1, 2], [3]], "soap", None])
def test_payoffs_that_are_no_numbers_are_refused(payoffs):
    with pytest.raises(UsageError, match="MatrixGame: payoffs must be "):
        MatrixGame(payoffs)


def test_bad_parameters_are_refused():
    with pytest.raises(UsageError, match="Penalty: k must be at most 0, not 1"):
        rljax.make("Penalty", k=1.0)
    with pytest.raises(UsageError, match="rounds must be a whole number of at least 1, not 0"):
        rljax.make("Climbing", rounds=0)


def test_the_first_agent_decides_which_of_the_two_games_is_played():
    env = rljax.make("TwoStep")
    second = {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 8}
    for first, ignored, joint in product(range(2), range(2), second):
        rewards, ends, seen = played(env, (first, ignored), joint)
        assert rewards.tolist() == [[0, 0], [second[joint] if first else 7] * 2]
        assert ends == [False, True]
        assert (seen[0] == [1, 0, 0]).all() and (seen[1] == np.eye(3)[1 + first]).all()
    assert env.teams == ((0, 1),) and env.shared_reward
    state, obs = env.reset(KEY)
    assert (env.global_state(state) == obs[0]).all() and env.state_space.shape == (3,)
