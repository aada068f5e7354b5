"""Statistics of few runs: estimates over seeds and environments, and how far to trust them.

Scores are float arrays [..., N, M] of N seeds in each of M environments, one number for each seed:
what its agent is worth, say the mean return of its last evaluation. Every statistic takes the last
two axes away. `central` is what stands for all seeds where that has to be one number, and
`interval` says what other seeds of the same kind might have given.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
https://arxiv.org/abs/2108.13264, whose own library is https://github.com/google-research/rliable.
"""

from collections.abc import Callable

import numpy as np

CONFIDENCE, RESAMPLES = 0.95, 2000
FEWEST_FOR_IQM, FEWEST_FOR_INTERVAL = 8, 5  # seeds
_NUMBERS_AT_ONCE = 4_000_000  # of all resamples that are in memory together


def mean(scores: np.ndarray) -> np.ndarray:
    """The mean of all seeds and environments, [...]."""
    return scores.mean((-2, -1))


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the middle half of all seeds and environments together, [...].

    A quarter of the numbers, rounded down, is left out at either end: of three or fewer none is.
    Source: Agarwal et al. 2021, section 4.3.
    """
    from scipy.stats import trim_mean

    return trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


STATISTICS = {"mean": mean, "IQM": interquartile_mean}
"""What may stand for some seeds, by the name that tables and pictures have for it."""


def central_name(seeds: int) -> str:
    """Which of STATISTICS stands for so many seeds: "mean" for fewer than 8, from 8 on "IQM".

    Of four seeds the interquartile mean leaves out the worst, so a method of whose trainings one in
    four fails would score like one that never does. From eight on two are left out at either end,
    which says more about the method than about the luck of one seed.
    """
    return "IQM" if seeds >= FEWEST_FOR_IQM else "mean"


def central(scores: np.ndarray) -> np.ndarray:
    """The mean of fewer than 8 seeds, the interquartile mean of 8 or more, [...].

    `central_name` says which, and why.
    """
    return STATISTICS[central_name(scores.shape[-2])](scores)


def central_of_some(scores: np.ndarray) -> float:
    """What stands for N seeds [N] of which some have no score, NaN: `central`'s statistic of N.

    NaN where none has one. So along a curve it is the same statistic, however many have a score.
    """
    known = scores[~np.isnan(scores)]
    return float(STATISTICS[central_name(scores.size)](known[:, None])) if known.size else np.nan


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The fraction of seeds whose score is above each of T thresholds, [..., T].

    The mean over environments; where one method's profile lies above another's, more of its seeds
    got that far. Source: Agarwal et al. 2021, section 4.2.
    """
    return (scores[..., None] > thresholds).mean((-3, -2))


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How likely a seed of `scores` [..., N, M] beats one of `others` [..., N', M], [...].

    The Mann-Whitney U statistic over N N', in each environment, and the mean of that over them; a
    tie is half a win. Source: Agarwal et al. 2021, section 4.3.
    """
    ours, theirs = scores[..., :, None, :], others[..., None, :, :]
    return ((ours > theirs) + 0.5 * (ours == theirs)).mean((-3, -2, -1))


def interval(
    statistic: Callable[..., np.ndarray],
    *scores: np.ndarray,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bound of a statistic, by a stratified percentile bootstrap.

    None with fewer than 5 seeds: show the seeds themselves. With two, the interval is at most as
    wide as their distance, and holds the true mean in half of all cases.

    Seeds are sampled with replacement within each environment, so the environments stay those that
    they are. Of several arrays of scores, each is sampled by itself. A curve is one statistic of
    scores [K, N, M], and what is sampled for one of its points is sampled for all.

    Args:
        statistic: of arrays as `scores` are, with the axis of the resamples in front of them.
        scores: [..., N, M] each, as many as the statistic takes.
        confidence: how often such an interval should hold what it is about.
        resamples: how many to draw.
        rng: samples them; by default the same ones every time.

    Source: Agarwal et al. 2021, section 4.1; Efron 1979, https://doi.org/10.1214/aos/1176344552.
    """
    if min(s.shape[-2] for s in scores) < FEWEST_FOR_INTERVAL:
        return None
    rng = rng or np.random.default_rng(0)
    at_once = max(1, _NUMBERS_AT_ONCE // sum(s.size for s in scores))
    counts = [min(at_once, resamples - done) for done in range(0, resamples, at_once)]
    sampled = [statistic(*(_resampled(s, count, rng) for s in scores)) for count in counts]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(sampled), (tail, 1 - tail), axis=0)
    return low, high


def _resampled(scores: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Scores [..., N, M] with seeds sampled anew, [count, ..., N, M]."""
    seeds, environments = scores.shape[-2:]
    chosen = rng.integers(0, seeds, (count, seeds, environments))
    return np.moveaxis(scores[..., chosen, np.arange(environments)], -3, 0)


def normalised(scores: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Scores [..., N, M] on the scale on which `low` [M] is 0 and `high` [M] is 1.

    All are 0 in an environment where the two are the same.
    """
    span = np.subtract(high, low)
    return (scores - low) / np.where(span == 0, 1.0, span)
