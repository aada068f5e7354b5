"""The methods of a sweep: which trials there are, and how they train. Does not import JAX."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rljax.tune.trials import Batch, Outcome, Trial

if TYPE_CHECKING:
    from rljax.tune.settings import Sweep

METHODS = {
    "random": "rljax.tune.search:random",
    "grid": "rljax.tune.search:grid",
    "bayes": "rljax.tune.bayes:bayes",
    "halving": "rljax.tune.vectorized:halving",
    "pbt": "rljax.tune.vectorized:pbt",
}
"""Name to `Method`."""


class Search(Protocol):
    """Chooses trials, in rounds. The same sweep, told the same, asks for the same trials."""

    def structures(self) -> list[dict[str, Any]]:
        """Every structure (dotted key to value) that it may ask for."""
        ...

    def ask(self) -> Sequence[Trial]:
        """The trials of the next round; none when there are no more."""
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """What became of all trials of the round, in their order."""
        ...


Train = Callable[[Batch], list[Outcome]]
"""Trains the trials of a batch, and evaluates them. Keeps what it has compiled for the next one."""


class Method(NamedTuple):
    """A way of tuning."""

    complete: Callable[["Sweep"], "Sweep"]
    """With its own defaults filled in; UsageError for settings and a space it cannot use."""
    search: Callable[["Sweep"], Search]
    train: Callable[["Sweep", Path | None], Train]
    """Given a directory, keeps there what a long batch must not lose."""
    rounds: int = 1
    """In how many rounds, at least, trials should be asked for: so often the search can learn."""
    is_one_batch: bool = False
    """Whether all trials have to train together."""
    seeds: int = 4
    """Trainings of each trial, by default."""


def get(name: str) -> Method:
    """The method registered as `name`."""
    module, member = METHODS[name].split(":")
    return getattr(importlib.import_module(module), member)
