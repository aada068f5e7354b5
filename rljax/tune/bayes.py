"""Bayesian search: Optuna's samplers, asked for whole batches and told what became of them."""

import importlib
import itertools
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from rljax.errors import UsageError
from rljax.tune.batch_training import Trainer
from rljax.tune.methods import Method
from rljax.tune.search import with_trials
from rljax.tune.settings import Sweep
from rljax.tune.space import Choice, Distribution
from rljax.tune.trials import Outcome, Trial

WORST = -1e9  # while all trials have diverged; samplers see the order of values, not their size


class Asked:
    """A study of Optuna in memory, asked and told in batches.

    Nothing of the sampler is stored: asked again from the beginning, and told what is in the table
    of trials, it comes to where it was.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._study = study(sweep)
        self._round: list[Any] = []

    def structures(self) -> list[dict[str, Any]]:
        """Every combination of structures: any may be asked for."""
        space = self._sweep.space
        keys = [key for key in space if key.startswith("structure.")]
        points = itertools.product(*(space[key].points() for key in keys))
        return [dict(zip(keys, point, strict=True)) for point in points]

    def ask(self) -> Sequence[Trial]:
        """A batch of trials, or what is left of them."""
        settings, space = self._sweep.settings, self._sweep.space
        assert settings.trials is not None
        count = min(settings.batch, settings.trials - len(self._study.trials))
        kinds = {key: as_optuna(distribution) for key, distribution in space.items()}
        self._round = [self._study.ask(kinds) for _ in range(count)]
        return [
            Trial(asked.number, {key: from_optuna(space[key], asked.params[key]) for key in space})
            for asked in self._round
        ]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """The values of a batch; one that diverged counts as much as the worst that is known.

        It is told as a number: CMA-ES does not hear of trials that are told as pruned.
        """
        known = [trial.value for trial in self._study.trials if trial.value is not None]
        found = [outcome.value for outcome in outcomes if outcome.value is not None]
        worst = min(known + found, default=WORST)
        for asked, outcome in zip(self._round, outcomes, strict=True):
            self._study.tell(asked, worst if outcome.value is None else outcome.value)


def study(sweep: Sweep) -> Any:
    """An empty study of Optuna, with the sampler that the settings name."""
    samplers, seed = optuna().samplers, sweep.config.top.seed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)
        # Pending trials of the batch count as bad ones, so that it does not crowd on one spot.
        sampler = (
            samplers.TPESampler(seed=seed, constant_liar=True)
            if sweep.settings.sampler == "tpe"
            else samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        )
        return optuna().create_study(direction="maximize", sampler=sampler)


def as_optuna(distribution: Distribution) -> Any:
    """A distribution of Optuna's; a choice is the index of its value."""
    kinds = optuna().distributions
    if isinstance(distribution, Choice):
        return kinds.CategoricalDistribution(range(len(distribution.values)))
    return kinds.FloatDistribution(
        distribution.low, distribution.high, log=distribution.scale == "log"
    )


def from_optuna(distribution: Distribution, value: Any) -> Any:
    """A value as the config has it."""
    return distribution.values[value] if isinstance(distribution, Choice) else value


def to_optuna(distribution: Distribution, value: Any) -> Any:
    """The reverse of `from_optuna`."""
    return distribution.values.index(value) if isinstance(distribution, Choice) else value


def optuna(what: str = 'method "bayes"') -> ModuleType:
    """Optuna, made to work silently. Raises UsageError, naming what needs it, if it is missing."""
    module = _extra("optuna", what)
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def _extra(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"{what} needs {name}, which is not installed: pip install 'rljax-core[sweep]'"
        ) from None


def _complete(sweep: Sweep) -> Sweep:
    optuna()
    if sweep.settings.sampler == "cmaes":
        _extra("cmaes", 'sampler "cmaes"')
    return with_trials(sweep)


bayes = Method(_complete, Asked, Trainer, rounds=8)
