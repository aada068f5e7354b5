"""Tic-tac-toe and connect four for two players: they are those of pgx, seen from who is to move."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import autoreset
from rljax.envs.check import check_env
from rljax.errors import UsageError

GAMES = 30


@pytest.fixture(
    scope="module",
    params=["TicTacToeGame", pytest.param("ConnectFourGame", marks=pytest.mark.long)],
)
def game(request):
    return rljax.make(request.param)


def played(game, moves: int):
    """Random games, some with an illegal move: states, observations and ends, [T, GAMES, ...]."""

    def step(state, key):
        key, key_any = jax.random.split(key)
        legal = game.action_mask(state)
        careless = jax.random.bernoulli(key_any, 1.0 if game.falls else 0.1)
        action = jax.random.categorical(key, jnp.where(legal | careless, 0.0, -jnp.inf))
        state, obs, reward, terminated, _ = autoreset.step(game, key, state, action)
        return state, (action, obs, reward, terminated)

    def one(key):
        return jax.lax.scan(step, game.reset(key)[0], jax.random.split(key, moves))[1]

    return jax.jit(jax.vmap(one, out_axes=1))(jax.random.split(jax.random.key(0), GAMES))


def test_games_are_those_of_pgx_step_by_step(game):
    pgx = pytest.importorskip("pgx")
    name = {"TicTacToeGame": "tic_tac_toe", "ConnectFourGame": "connect_four"}[game.name]
    theirs = pgx.make(name)
    actions, obs, rewards, ended = played(game, 42 if game.falls else 9)
    init, step = jax.jit(jax.vmap(theirs.init)), jax.jit(jax.vmap(theirs.step))
    state = init(jax.random.split(jax.random.key(1), GAMES))
    np.testing.assert_array_equal(state.observation, jnp.zeros_like(obs.obs[0]))
    over = np.zeros(GAMES, bool)
    ends = set()
    for t, action in enumerate(actions):
        mover = state.current_player
        state = step(state, action)
        seen = state.observation[:, ::-1] if game.falls else state.observation  # from the top
        lost = np.asarray(rewards[t] < 0)  # pgx leaves the board as it is after an illegal move
        np.testing.assert_array_equal(seen[~over & ~lost], obs.obs[t][~over & ~lost])
        legal = np.asarray(state.legal_action_mask | state.terminated[:, None])
        np.testing.assert_array_equal(legal[~over], obs.legal[t][~over])
        paid = np.take_along_axis(np.asarray(state.rewards), np.asarray(mover)[:, None], 1)[:, 0]
        np.testing.assert_array_equal(paid[~over], rewards[t][~over])
        np.testing.assert_array_equal(state.terminated[~over], ended[t][~over])
        ends |= {(float(r)) for r in rewards[t][~over & np.asarray(ended[t])]}
        over |= np.asarray(ended[t])
    assert over.all() and {-1.0, 1.0} <= ends


def test_a_game_keeps_the_rules_of_environments(game):
    check_env(game)


def test_a_turned_board_is_played_with_turned_moves(game):
    state, _ = game.reset(jax.random.key(0))
    for action in (0, 1, 0):
        state, obs, *_ = game.step(jax.random.key(0), state, action)
    assert game.symmetries == (2 if game.falls else 8)
    boards = set()
    for way in range(game.symmetries):
        turned, actions = game.seen_from(way, obs), np.asarray(game.actions_from(way))
        boards.add(np.asarray(turned).tobytes())
        assert sorted(actions) == list(range(game.action_space.n))
        for place, action in enumerate(actions):
            # The opponent's discs come last in the view of who is to move then.
            after = game.step(jax.random.key(0), state, action)[1]
            other = state._replace(board=turned[..., ::-1] if state.time % 2 else turned)
            np.testing.assert_array_equal(
                game.step(jax.random.key(0), other, place)[1], game.seen_from(way, after)
            )
    assert len(boards) == game.symmetries
    np.testing.assert_array_equal(game.seen_from(0, obs), obs)


def test_the_text_of_a_board_shows_discs_and_the_numbers_of_moves(game):
    state, _ = game.reset(jax.random.key(0))
    for action in (1, 2):
        state = game.step(jax.random.key(0), state, action)[0]
    lines = game.text(state).split("\n")
    if game.falls:
        assert lines[-2:] == [". x o . . . .", "0 1 2 3 4 5 6"] and len(lines) == 7
    else:
        assert lines == ["0 x o", "3 4 5", "6 7 8"]


def test_a_game_of_pgx_is_a_game_of_two_players():
    pytest.importorskip("pgx")
    hexagons = rljax.make("pgx/tic_tac_toe")
    check_env(hexagons)
    assert isinstance(hexagons, rljax.types.TwoPlayerGame)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            partial(rljax.make, "pgx/kuhn_poker"),
            "no zero-sum game of two players who move in turns",
        ),
        (partial(rljax.make, "pgx/2048"), "no zero-sum game of two players"),
        (partial(rljax.make, "pgx/othelo"), "did you mean 'othello'"),
        (
            lambda: rljax.dqn(rljax.make("TicTacToeGame")),
            "two take turns in TicTacToeGame: use alpha",
        ),
        (lambda: rljax.alphazero(rljax.make("CartPole-v1")), "which CartPole-v1 is not: use"),
    ],
)
def test_what_is_no_game_of_two_or_is_trained_as_if_it_were_none_is_refused(make, message):
    pytest.importorskip("pgx")
    with pytest.raises(UsageError, match=message):
        make()
