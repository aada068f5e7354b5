"""Self-play: what enters the pool of earlier selves, who is drawn from it, and who begins."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import SMALL
from states import different_leaves, jit

import rljax
from rljax.actors.versions import POOL, against_opponents
from rljax.envs import autoreset
from rljax.envs.check import check_env
from rljax.envs.opponents import Against
from rljax.errors import UsageError
from rljax.training.matches import earlier_selves
from rljax.types import Actor

game = rljax.make("TicTacToeGame")
FAVOURITES = [0, 4, 8]


def fond_of_a_cell() -> Actor:
    """Who takes the cell that its parameter says, or else the lowest that is free."""

    def policy(params, obs, carry, key):
        cells = jnp.arange(9) - 100 * (jnp.arange(9) == params[..., None])
        return jnp.argmin(jnp.where(obs.legal, cells, 1000), axis=-1), {}, carry

    return Actor(lambda key: jnp.int32(0), lambda hparams, progress: policy, lambda hparams: None)


def fond_opponents(newest: float):
    params = {"online": jnp.int32(2), POOL: jnp.array(FAVOURITES)}
    return against_opponents(fond_of_a_cell(), game, 3, newest, (), jnp.float32(0), params)


@pytest.fixture(scope="module")
def played():
    """For each probability of the newest: opponents [T, N], boards and moves of new games."""

    def play(newest, key):
        key_reset, key_steps = jax.random.split(key)
        env = fond_opponents(newest)

        def step(loop, key):
            state, obs = loop
            action = jnp.argmax(obs.legal, axis=-1)
            ended = jax.vmap(lambda *x: autoreset.autoreset(env, *x))(
                jax.random.split(key, 256), state, action
            )
            return ended[:2], (loop, ended[3])

        start = jax.vmap(lambda key: autoreset.reset(env, key))(jax.random.split(key_reset, 256))
        return jax.lax.scan(step, start, jax.random.split(key_steps, 24))[1]

    newest = jnp.array([0.0, 0.5, 1.0])
    found = jax.jit(jax.vmap(play))(newest, jax.random.split(jax.random.key(0), 3))
    return jax.tree.map(np.asarray, found)


def test_opponents_are_drawn_for_each_game_and_the_newest_as_often_as_it_should(played):
    (state, _), terminated = played
    new = state.against.time == 0
    shares = [
        np.bincount(number[begun], minlength=3) / begun.sum()
        for number, begun in zip(state.number, new, strict=True)
    ]
    wanted = [1 / 3] * 3, [1 / 6, 1 / 6, 2 / 3], [0, 0, 1]
    for found, expected in zip(shares, wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=0.04)
    # They stay to the end of the game.
    stays = state.number[:, 1:] == state.number[:, :-1]
    assert stays[~terminated[:, :-1]].all() and not stays[0][terminated[0, :-1]].all()


def test_the_opponent_that_was_drawn_moves_and_each_side_begins_half_of_the_games(played):
    (state, obs), _ = played
    new, board = state.against.time == 0, state.against.game.board
    begun_by_opponent = new & (state.against.game.time == 1)
    for number, cell in enumerate(FAVOURITES):
        first = begun_by_opponent & (state.number == number)
        moves = board[first].reshape(-1, 9, 2)
        assert moves[:, cell, 0].all() and moves.sum() == len(moves)
        np.testing.assert_array_equal(obs.legal[first], ~moves[..., 0])
    assert abs(begun_by_opponent.sum() / new.sum() - 0.5) < 0.03
    # The answer to a first move on cell 0 is the cell of the opponent, if it is not taken.
    second = (state.against.time == 1) & (state.against.game.time == 2)
    for number, cell in ((1, 4), (2, 8)):
        assert board[second & (state.number == number)].reshape(-1, 9, 2)[:, cell, 1].all()


@pytest.mark.long
def test_a_game_against_several_opponents_is_an_environment():
    check_env(fond_opponents(0.5))


@pytest.fixture(scope="module")
def agent():
    return rljax.ppo(game, **SMALL, opponents=3, opponent_period=2, total_env_steps=256)


@pytest.mark.long
def test_the_present_self_enters_the_pool_after_each_period_and_the_oldest_leaves(agent):
    init, step = jit(agent.init), jit(agent.step)
    newest = init(jax.random.key(0), replace(agent.hparams, newest_opponent=1.0))
    assert (newest.worker.env_state.number == 2).all()
    state = init(jax.random.key(0), replace(agent.hparams, newest_opponent=0.0))
    assert (state.worker.env_state.number < 2).any()
    online = [state.learner.params["online"]]
    expected = [0, 0, 0]
    for iteration in range(1, 9):
        state, _ = step(state)
        online.append(state.learner.params["online"])
        if iteration % 2 == 0:
            expected = [*expected[1:], iteration]
        for place, version in enumerate(expected):
            kept = jax.tree.map(lambda x, i=place: x[i], state.learner.params[POOL])
            assert not different_leaves(kept, online[version])
    assert expected == [4, 6, 8] and different_leaves(online[4], online[6])
    selves = earlier_selves(state)
    assert len(selves) == 3 and earlier_selves(selves[0])
    assert not different_leaves(selves[0].learner.params["online"], online[4])
    obs = state.worker.obs
    acts = [np.asarray(agent.distribution(each, obs, ())[0].logits) for each in (*selves, state)]
    assert (acts[2] == acts[3]).all() and (acts[0] != acts[2]).any()


def test_it_is_evaluated_against_moves_at_random_and_no_opponents_change_nothing(agent):
    assert isinstance(agent.env, Against) and agent.env.env is game
    random_games = rljax.ppo(Against(game), **SMALL, total_env_steps=256)
    state = jax.eval_shape(random_games.init, jax.random.key(0))
    assert not {POOL, "online"} & set(state.learner.params) and earlier_selves(state) == []
    # Actors may lag, too: then each opponent does.
    lags = rljax.ppo(game, **SMALL, opponents=2, policy_lag=1, total_env_steps=256)
    pool = jax.eval_shape(lags.init, jax.random.key(0)).learner.params[POOL]
    assert {x.shape[:2] for x in jax.tree.leaves(pool["behaviour"])} == {(2, 1)}


def test_what_does_not_fit_is_refused():
    small = {**SMALL, "total_env_steps": 64}
    with pytest.raises(UsageError, match="ppo with opponents = 8"):
        rljax.ppo(game, **small)
    with pytest.raises(UsageError, match="opponents of ppo is for zero-sum games of two players"):
        rljax.ppo(rljax.make("CartPole-v1"), **small, opponents=2)
    with pytest.raises(UsageError, match="opponents must be a whole number of at least 0, not -1"):
        rljax.ppo(game, **small, opponents=-1)
    with pytest.raises(UsageError, match="opponent_period must be"):
        rljax.ppo(game, **small, opponents=1, opponent_period=0)
    with pytest.raises(UsageError, match="opponents have no memory of a game"):
        rljax.ppo(game, **small, network="gru", opponents=1)
