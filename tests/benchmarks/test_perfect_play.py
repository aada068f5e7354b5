"""What the study of perfect play counts, with a solver that looks one move ahead."""

import jax
import numpy as np
import pytest

import rljax
from rljax.envs.opponents import random_move


def one_move_ahead(moves: list[int]) -> np.ndarray:
    """1 where a move wins at once, -1 for the last other column, and 0 for the rest."""
    env = rljax.make("ConnectFourGame")
    state, _ = env.reset(jax.random.key(0))
    for move in moves:
        state, *_ = env.step(jax.random.key(0), state, move)
    scores = np.full(7, np.nan)
    for column in np.flatnonzero(env.action_mask(state)):
        scores[column] = env.step(jax.random.key(0), state, int(column))[2]
    others = np.flatnonzero(scores == 0)
    scores[others[-1:]] = -1
    return scores


@pytest.mark.long
def test_moves_are_compared_with_those_of_the_solver(study):
    module, key = study("perfect_play"), jax.random.key(1)
    found = module.positions(4, 0, one_move_ahead)
    boards = [np.asarray(board).tobytes() for board in found.states.board]
    assert len(set(boards)) == 4 and found.scores.shape == (4, 7)
    np.testing.assert_array_equal(np.isnan(found.scores), ~np.asarray(found.obs.legal))
    scores = dict(zip(boards, found.scores, strict=True))

    def knowing(choose):
        """Who chooses by the scores of its position."""

        def choice(board):
            return np.int32(choose(scores[np.asarray(board).tobytes()]))

        def move(key, state, obs):
            action = jax.ShapeDtypeStruct((), np.int32)
            return jax.pure_callback(choice, action, state.board, vmap_method="sequential")

        return move

    best, worst = (
        module.agreement(knowing(choose), found, key) for choose in (np.nanargmax, np.nanargmin)
    )
    assert best == {"keeps_value": 1.0, "best_move": 1.0}
    assert worst == {"keeps_value": 0.0, "best_move": 0.0}
    chance = module.agreement(random_move, found, key)
    assert 0 <= chance["best_move"] <= chance["keeps_value"] <= 1
