"""Estimates and intervals agree with rliable, the library of the paper they come from."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from rliable import metrics

from rljax import statistics


@pytest.fixture(scope="module")
def rliable():
    """Its library of intervals."""
    try:
        from rliable import library
    except TypeError as error:
        pytest.skip(f"arch, which rliable needs, does not import with pandas 3: {error}")
    return library


def scores(seeds, environments, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1.0, (seeds, environments))


def rliable_draws(seed):
    """The random numbers that rliable draws once NumPy has this seed."""
    return SimpleNamespace(integers=np.random.RandomState(seed).randint)


SIZES = [(10, 3), (5, 1), (3, 4), (2, 1), (1, 1), (16, 2)]


@pytest.mark.parametrize("size", SIZES)
def test_estimates_are_those_of_rliable(size):
    own = scores(*size)
    assert statistics.mean(own) == pytest.approx(metrics.aggregate_mean(own), rel=1e-12)
    assert statistics.interquartile_mean(own) == metrics.aggregate_iqm(own)


@pytest.mark.parametrize("size", SIZES)
def test_the_probability_of_improvement_is_that_of_rliable(size):
    own, others = scores(*size).round(1), scores(7, size[1], 0.5, seed=1).round(1)  # some tie
    for ours, theirs in ((own, others), (others, own), (own, own)):
        expected = metrics.probability_of_improvement(ours, theirs)
        found = statistics.probability_of_improvement(ours, theirs)
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(10, 3), (5, 1), (6, 2)])
def test_intervals_are_those_of_rliable_on_the_same_resamples(rliable, size):
    own = scores(*size)

    def both(drawn):
        return np.array([metrics.aggregate_iqm(drawn), metrics.aggregate_mean(drawn)])

    np.random.seed(3)
    _, expected = rliable.get_interval_estimates({"": own}, both, reps=300)
    for column, statistic in enumerate((statistics.interquartile_mean, statistics.mean)):
        found = statistics.interval(statistic, own, resamples=300, rng=rliable_draws(3))
        np.testing.assert_allclose(found, expected[""][:, column], rtol=1e-12)


def test_a_profile_is_the_fraction_of_seeds_above_a_threshold():
    own = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = statistics.performance_profile(own, np.array([0.0, 1.0, 2.5, 4.0]))
    np.testing.assert_array_equal(found, [1.0, 0.75, 0.5, 0.0])


def test_profiles_and_their_intervals_are_those_of_rliable(rliable):
    own, thresholds = scores(8, 3), np.linspace(-2, 2, 9)
    np.random.seed(3)
    expected, bounds = rliable.create_performance_profile({"": own}, thresholds, reps=300)
    profile = partial(statistics.performance_profile, thresholds=thresholds)
    np.testing.assert_allclose(profile(own), expected[""], rtol=1e-12)
    found = statistics.interval(profile, own, resamples=300, rng=rliable_draws(3))
    np.testing.assert_allclose(found, bounds[""], rtol=1e-12)


def test_the_interval_of_an_improvement_is_that_of_rliable(rliable, monkeypatch):
    own, others = scores(10, 2, 0.5), scores(6, 2, seed=1)
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 1)  # to draw from both by turns, as it does

    def improvement(ours, theirs):
        return np.array([metrics.probability_of_improvement(ours, theirs)])

    np.random.seed(3)
    _, expected = rliable.get_interval_estimates({"": [own, others]}, improvement, reps=300)
    found = statistics.interval(
        statistics.probability_of_improvement, own, others, resamples=300, rng=rliable_draws(3)
    )
    np.testing.assert_allclose(found, expected[""].ravel(), rtol=1e-12)


def test_a_curve_is_the_statistic_of_each_of_its_points():
    curve = np.stack([scores(6, 2, seed=k) for k in range(4)])
    points = statistics.interquartile_mean(curve)
    bounds = statistics.interval(statistics.interquartile_mean, curve, resamples=200)
    for k, own in enumerate(curve):
        assert points[k] == statistics.interquartile_mean(own)
        alone = statistics.interval(statistics.interquartile_mean, own, resamples=200)
        np.testing.assert_array_equal((bounds[0][k], bounds[1][k]), alone)


def test_seeds_are_drawn_within_each_environment():
    apart = np.array([[0.0, 100.0]] * 5)  # no seed differs from another on the same environment
    assert statistics.interval(statistics.mean, apart) == (50.0, 50.0)


def test_what_is_in_memory_at_once_makes_no_difference_to_what_is_drawn(monkeypatch):
    own = scores(9, 2)
    expected = statistics.interval(statistics.interquartile_mean, own)
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 1000)
    assert statistics.interval(statistics.interquartile_mean, own) == expected


def test_an_interval_covers_as_often_as_it_says():
    """The mean of 40 normal seeds: its 90% interval misses the truth about one time in ten."""
    draws = np.random.default_rng(0).normal(size=(400, 40, 1))
    low, high = statistics.interval(statistics.mean, draws, confidence=0.9, resamples=400)
    assert 0.85 < ((low < 0) & (high > 0)).mean() < 0.95


@pytest.mark.parametrize(("seeds", "least"), [(5, 0.8), (10, 0.88), (20, 0.9)])
def test_the_interval_of_few_seeds_is_too_narrow_but_says_something(seeds, least):
    draws = np.random.default_rng(0).normal(size=(500, seeds, 1))
    low, high = statistics.interval(statistics.central, draws, resamples=400)
    assert least < ((low < 0) & (high > 0)).mean() < 0.97


def test_of_fewer_than_five_seeds_there_is_no_interval(monkeypatch):
    for few in (1, 2, 4):
        assert statistics.interval(statistics.mean, scores(few, 3)) is None
    improvement = statistics.probability_of_improvement
    assert statistics.interval(improvement, scores(9, 1), scores(4, 1)) is None
    assert statistics.interval(improvement, scores(9, 1), scores(5, 1)) is not None
    monkeypatch.setattr(statistics, "FEWEST_FOR_INTERVAL", 2)  # Else a coin could be tossed for it:
    draws = np.random.default_rng(0).normal(size=(1000, 2, 1))
    low, high = statistics.interval(statistics.mean, draws, resamples=200)
    assert 0.45 < ((low < 0) & (high > 0)).mean() < 0.55


def test_one_number_for_some_seeds_does_not_hide_one_of_four_that_fails():
    four, eight = np.array([[0.0], [4.0], [4.0], [4.0]]), scores(8, 2)
    assert statistics.central(four) == 3 and statistics.interquartile_mean(four) == 4
    assert statistics.central(eight) == statistics.interquartile_mean(eight)
    assert statistics.central(eight[:7]) == statistics.mean(eight[:7])
    assert [statistics.central_name(n) for n in (1, 7, 8)] == ["mean", "mean", "IQM"]


def test_normalised_scores_are_0_and_1_where_it_says():
    raw = np.array([[10.0, -5.0], [30.0, -5.0]])
    found = statistics.normalised(raw, np.array([10.0, -5.0]), np.array([30.0, -5.0]))
    np.testing.assert_array_equal(found, [[0.0, 0.0], [1.0, 0.0]])


def test_along_a_curve_it_is_the_same_statistic_however_many_seeds_have_a_score():
    scores = np.array([0.0, 100, 100, 100, 100, 100, 100, np.nan])
    assert statistics.central_of_some(scores) == 100.0
    assert statistics.central_of_some(scores[:4]) == 75.0
    assert np.isnan(statistics.central_of_some(scores[7:]))
