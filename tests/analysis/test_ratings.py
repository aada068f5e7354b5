"""Elo ratings, beside what the formula says of two players."""

import numpy as np
import pytest

from rljax.analysis.ratings import elo


def test_two_players_are_as_far_apart_as_their_points_say():
    """With the drawn game that is added: 99.5 points and 9.5 of them."""
    apart = np.subtract(*elo([[0, 99], [9, 0]]))
    assert apart == pytest.approx(400 * np.log10(99.5 / 9.5), rel=1e-3)


def test_ratings_of_many_expect_the_points_that_were_taken():
    rng = np.random.default_rng(0)
    ratings = np.array([300.0, 100.0, -50.0, -350.0])
    odds = 1 / (1 + 10 ** ((ratings - ratings[:, None]) / 400))
    games = 20_000
    wins = np.triu(rng.binomial(games, odds), 1)
    points = wins + np.triu(games - wins, 1).T
    np.testing.assert_allclose(elo(points), ratings, atol=8)


def test_who_wins_all_has_a_rating_and_equal_players_have_0():
    best, *_ = elo([[0, 10, 10], [0, 0, 5], [0, 5, 0]])
    assert 0 < best < 1500
    np.testing.assert_allclose(elo(np.full((3, 3), 5.0)), 0, atol=1e-6)


@pytest.mark.parametrize("points", [[1.0, 2.0], [[0, -1], [1, 0]], [[0, np.nan], [1, 0]]])
def test_what_are_no_points_is_refused(points):
    with pytest.raises(ValueError, match="a square of numbers from 0 up"):
        elo(points)
