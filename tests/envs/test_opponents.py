"""A game against an opponent: who begins, who is paid, and that perfect play is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import autoreset
from rljax.envs.check import check_env
from rljax.envs.opponents import Against, random_move
from rljax.envs.perfect_play import best_moves, perfect_move
from rljax.errors import UsageError

game = rljax.make("TicTacToeGame")


def lowest(key, state, obs):
    return jnp.argmax(obs.legal)


def ends(env, actions) -> tuple[list[float], bool]:
    """The rewards of a game in which the agent plays these actions, and whether it is over."""
    state, _ = autoreset.reset(env, jax.random.key(0))
    rewards = []
    for action in actions:
        state, _, reward, terminated, _ = autoreset.step(env, jax.random.key(1), state, action)
        rewards.append(float(reward))
    return rewards, bool(terminated)


def test_the_agent_is_paid_for_its_wins_and_pays_for_the_opponents():
    first, second = Against(game, lowest, True), Against(game, lowest, False)
    assert ends(first, [4, 2, 6]) == ([0, 0, 1], True)  # 4 2 6 against 0 1
    assert ends(first, [4, 8, 7]) == ([0, 0, -1], True)  # against 0 1 2
    assert ends(second, [4, 8]) == ([0, -1], True)  # against 0 1 2
    assert ends(first, [4, 4]) == ([0, -1], True)  # an illegal move


@pytest.mark.long
def test_the_opponent_begins_when_it_should_and_in_half_of_the_games_by_chance():
    def moves(begins):
        reset = jax.vmap(Against(game, random_move, begins).reset)
        return reset(jax.random.split(jax.random.key(0), 200))[0].game.time

    assert (moves(True) == 0).all() and (moves(False) == 1).all()
    assert 70 < moves(None).sum() < 130
    check_env(Against(game, random_move))


def test_perfect_play_is_never_beaten_and_takes_what_wins():
    best = best_moves(game)
    assert best[0].all()  # all first moves draw
    corners = [0, 2, 6, 8]
    np.testing.assert_array_equal(np.flatnonzero(best[3**4]), corners)  # against the centre
    place = 1 + 3 * 1 + 2 * 3**3 + 2 * 3**4
    np.testing.assert_array_equal(np.flatnonzero(best[place]), [2])

    def match(agent_moves, begins):
        env = Against(game, perfect_move(game), begins)

        def step(loop, key):
            state, obs, total, over = loop
            action = agent_moves(key, state.game, obs)
            state, obs, reward, ended, _ = autoreset.step(env, key, state, action)
            return (state, obs, total + jnp.where(over, 0.0, reward), over | ended), None

        def one(key):
            start = (*autoreset.reset(env, key), jnp.float32(0), jnp.bool_(False))
            return jax.lax.scan(step, start, jax.random.split(key, 5))[0][2]

        return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 300))

    for begins in (True, False):
        against_random = match(random_move, begins)
        assert (against_random <= 0).all() and against_random.mean() < -0.6
    assert (match(perfect_move(game), True) == 0).all()


def test_perfect_play_of_a_large_game_is_refused():
    with pytest.raises(
        UsageError, match="ConnectFourGame is too large for that: play against mcts"
    ):
        perfect_move(rljax.make("ConnectFourGame"))
