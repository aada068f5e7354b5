"""Matches between an agent and an opponent: each begins half of the games, and all are counted."""

import jax
import jax.numpy as jnp
import pytest

import rljax
from rljax.envs.opponents import Against
from rljax.errors import UsageError
from rljax.training.matches import match, move_of, opponent
from rljax.types import StateObs

game = rljax.make("TicTacToeGame")
SIZES = {"num_envs": 2, "rollout_length": 4, "total_env_steps": 16}


@pytest.fixture(scope="module")
def searcher():
    agent = rljax.mcts(game, num_simulations=32, playout_steps=9, num_envs=2)
    return agent, agent.init(jax.random.key(0))


def lowest(key, state, obs):
    return jnp.argmax(obs.legal)


def test_games_are_counted_for_the_agent_by_who_moved_first(searcher):
    agent, state = searcher
    always = agent._replace(
        act=lambda state, obs, carry, key: (jnp.argmax(obs.legal, axis=-1), carry)
    )
    played = match(always, state, jax.random.key(0), lowest, 6)
    # 0 2 4 6 against 1 3 5: who moves first has a line.
    assert played.first == (3, 0, 0) and played.second == (0, 0, 3)
    summary = played.summary()
    assert (summary["wins"], summary["draws"], summary["losses"]) == (3, 0, 3)
    assert summary["episodes"] == 6 and summary["first"]["wins"] == 3
    with pytest.raises(UsageError, match="episodes = 5 does not divide"):
        match(always, state, jax.random.key(0), lowest, 5)


def test_an_agent_plays_against_another_one_of_the_same_game(searcher):
    agent, state = searcher
    always = agent._replace(
        act=lambda state, obs, carry, key: (jnp.argmax(obs.legal, axis=-1), carry)
    )
    # Its observations carry the state of the game, which the test's own player cannot know.
    seen = []
    watching = always._replace(
        act=lambda state, obs, carry, key: (seen.append(obs), always.act(state, obs, carry, key))[1]
    )
    other = move_of(watching, state, game)
    assert match(always, state, jax.random.key(0), other, 6) == match(
        always, state, jax.random.key(0), lowest, 6
    )
    assert all(isinstance(obs.obs, StateObs) and obs.legal.shape == (1, 9) for obs in seen)
    with pytest.raises(
        UsageError, match="who has learnt TicTacToeGame cannot play ConnectFourGame"
    ):
        move_of(agent, state, rljax.make("ConnectFourGame"))
    with pytest.raises(UsageError, match="not a population"):
        move_of(rljax.vmap(agent), state, game)


@pytest.mark.slow
def test_a_search_beats_who_moves_at_random_and_seldom_loses_to_who_plays_best(searcher):
    agent, state = searcher
    easy = match(agent, state, jax.random.key(0), "random", 60).summary()
    assert easy["wins"] >= 42
    hard = match(agent, state, jax.random.key(0), "perfect", 40).summary()
    assert hard["wins"] == 0 and hard["draws"] >= 12
    equal = match(agent, state, jax.random.key(0), "mcts", 20).summary()
    assert equal["losses"] < 12


def test_what_is_no_game_or_no_opponent_is_refused(searcher):
    agent, state = searcher
    key = jax.random.key(0)
    with pytest.raises(UsageError, match="opponent 'perfekt' is not known; did you mean 'perfect'"):
        match(agent, state, key, "perfekt", 2)
    with pytest.raises(UsageError, match="ConnectFourGame is too large for that"):
        opponent("perfect", rljax.make("ConnectFourGame"))
    lake = rljax.mcts(rljax.make("FrozenLake4x4"), num_simulations=1)
    with pytest.raises(UsageError, match="which FrozenLake4x4 is not"):
        match(lake, state, key, "random", 2)
    assert isinstance(agent.env, Against)
