"""Connect four: lines are found, the other player moves, and full columns are illegal."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import connect_four
from rljax.envs.connect_four import COLUMNS, MINE, ROWS, THEIRS, ConnectFourState, has_line
from rljax.errors import UsageError

env = rljax.make("ConnectFour")
step = jax.jit(env.step)


def lines() -> list[np.ndarray]:
    """All 69 ways to have four in a line, by plain loops."""
    found = []
    for row, column in itertools.product(range(ROWS), range(COLUMNS)):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            cells = [(row + i * down, column + i * right) for i in range(4)]
            if all(0 <= r < ROWS and 0 <= c < COLUMNS for r, c in cells):
                board = np.zeros((ROWS, COLUMNS), bool)
                board[tuple(zip(*cells, strict=True))] = True
                found.append(board)
    return found


def test_every_line_of_four_is_found_and_no_three_of_one():
    whole = lines()
    assert len(whole) == 69
    broken = []
    for board in whole:
        for row, column in np.argwhere(board):
            broken.append(board.copy())
            broken[-1][row, column] = False
    assert jax.vmap(has_line)(jnp.array(whole)).all()
    assert not jax.vmap(has_line)(jnp.array(broken)).any()


def board_of(text: str) -> ConnectFourState:
    """A state from rows of x (mine), o (theirs) and ., the lowest last."""
    rows = np.array([list(row) for row in text.split()][::-1])
    rows = np.pad(rows, ((0, ROWS - len(rows)), (0, 0)), constant_values=".")
    return ConnectFourState(jnp.array(np.stack([rows == "x", rows == "o"], -1)), jnp.int32(0))


def test_four_of_mine_win_before_the_other_player_answers():
    state, obs, reward, terminated, _ = step(jax.random.key(0), board_of("xxx.... ooo...."), 3)
    assert reward == 0 and not terminated  # it fell beside their three
    state = board_of("ooo.... xxx....")
    state, obs, reward, terminated, _ = step(jax.random.key(0), state, 3)
    assert reward == 1 and terminated and env.success(state) and obs[0, 3, MINE]
    assert obs[..., THEIRS].sum() == 3


def test_the_other_player_wins_by_chance():
    outcomes = [step(jax.random.key(i), board_of("ooo.xx."), 6) for i in range(40)]
    lost = [float(reward) for _, _, reward, terminated, _ in outcomes if terminated]
    assert lost and set(lost) == {-1.0} and len(lost) < 40


FULL = "xoxoxox oxoxoxo oxoxoxo xoxoxox xoxoxox"


def test_full_columns_are_illegal_and_the_mask_says_so():
    state = board_of(".oxox.. " + FULL)
    assert env.action_mask(state).tolist() == [True, False, False, False, False, True, True]
    # A move there loses, for those who cannot read masks; the board stays.
    after, _, reward, terminated, _ = step(jax.random.key(0), state, 2)
    assert reward == -1 and terminated and (after.board == state.board).all()


def test_a_full_board_is_a_draw():
    state = board_of(".oxoxox " + FULL)
    after, _, reward, terminated, _ = step(jax.random.key(0), state, 0)
    assert terminated and reward == 0 and after.board.any(-1).all()


def test_the_other_player_begins_every_second_game():
    boards = jax.vmap(lambda key: env.reset(key)[1])(jax.random.split(jax.random.key(0), 200))
    begun = np.asarray(boards[..., THEIRS].sum((1, 2)))
    assert set(begun) == {0, 1} and 70 < begun.sum() < 130 and not boards[..., MINE].any()
    columns = np.asarray(boards)[begun == 1][:, 0, :, THEIRS].sum(0)
    assert (columns > 0).all()


def test_random_games_have_as_many_discs_of_both_and_end():
    @partial(jax.jit, static_argnums=1)
    def play(key, moves):
        state, _ = env.reset(key)

        def one(loop, key):
            state, over = loop
            column = connect_four.random_column(state.board, key)
            after, _, _, terminated, _ = env.step(key, state, column)
            state = jax.tree.map(lambda new, old: jnp.where(over, old, new), after, state)
            return (state, over | terminated), None

        return jax.lax.scan(one, (state, jnp.bool_(False)), jax.random.split(key, moves))[0]

    state, over = jax.vmap(lambda key: play(key, 21))(jax.random.split(jax.random.key(1), 100))
    assert over.all()
    mine, theirs = np.moveaxis(np.asarray(state.board.sum((1, 2))), -1, 0)
    assert (np.abs(mine - theirs) <= 1).all() and (mine > 3).any()
    filled = np.asarray(state.board.any(-1))
    assert (filled[:, :-1] >= filled[:, 1:]).all()  # nothing hangs in the air


def test_without_a_mask_it_is_the_same_game():
    bare = rljax.make("ConnectFour", mask=False)
    assert not hasattr(bare, "action_mask") and bare.name == env.name
    with pytest.raises(UsageError, match="ConnectFour has no parameter 'masked'"):
        rljax.make("ConnectFour", masked=False)
