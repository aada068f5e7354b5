"""Random search and grids: all trials are known beforehand."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rljax.errors import UsageError
from rljax.tune.batch_training import Trainer
from rljax.tune.methods import Method
from rljax.tune.settings import Sweep
from rljax.tune.space import Choice, Space, structure_of
from rljax.tune.trials import Outcome, Trial

RANDOM_TRIALS = 32


class Listed:
    """A search whose trials are one round."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials
        self._rounds = iter([trials])

    def structures(self) -> list[dict[str, Any]]:
        """The distinct structures of all trials."""
        found = {repr(s): s for s in (structure_of(trial.params) for trial in self.trials)}
        return list(found.values())

    def ask(self) -> Sequence[Trial]:
        """All trials, once."""
        return next(self._rounds, ())

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing follows from what became of them."""


def with_trials(sweep: Sweep) -> Sweep:
    """With the default number of trials, where none is given."""
    trials = sweep.settings.trials or RANDOM_TRIALS
    return replace(sweep, settings=replace(sweep.settings, trials=trials))


def sample(sweep: Sweep) -> Listed:
    """Trials sampled independently; each depends on the sweep's seed and its own number alone."""
    assert sweep.settings.trials is not None

    def trial(number: int) -> Trial:
        generator = np.random.default_rng([sweep.config.top.seed, number])
        return Trial(number, {key: d.sample(generator) for key, d in sweep.space.items()})

    return Listed([trial(number) for number in range(sweep.settings.trials)])


def all_points(sweep: Sweep) -> Listed:
    """Every combination of points; the last key varies fastest."""
    points = itertools.product(*(d.points() for d in sweep.space.values()))
    params = [dict(zip(sweep.space, point, strict=True)) for point in points]
    return Listed([Trial(number, each) for number, each in enumerate(params)])


def _count_points(sweep: Sweep) -> Sweep:
    _check_points(sweep.space)
    points = len(all_points(sweep).trials)
    if sweep.settings.trials not in (None, points):
        raise UsageError(
            f"trials = {sweep.settings.trials}, but the grid has {points} points: leave trials out"
        )
    return replace(sweep, settings=replace(sweep.settings, trials=points))


def _check_points(space: Space) -> None:
    for key, distribution in space.items():
        if not isinstance(distribution, Choice) and distribution.num is None:
            raise UsageError(
                f"a grid takes points, and {key} is a range: say how many with num = 8, "
                "or write { values = [...] }"
            )


random = Method(with_trials, sample, Trainer)
grid = Method(_count_points, all_points, Trainer)
