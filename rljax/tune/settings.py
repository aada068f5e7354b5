"""What decides a sweep: a config, a search space, and settings; does not import JAX until asked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rljax.errors import UsageError, check_known
from rljax.experiments import config as configs
from rljax.experiments.config import Config
from rljax.experiments.config_values import check_key, typed
from rljax.statistics import STATISTICS, central_name
from rljax.tune import methods
from rljax.tune import space as spaces
from rljax.tune.space import Space

SAMPLERS = ("tpe", "cmaes")


@dataclass(frozen=True)
class Settings:
    """The keys of `[sweep]`."""

    method: str = "random"
    """How trials are chosen and trained, as `rljax.tune.methods` names it."""
    trials: int | None = None
    """How many; by default 32, or all points of a grid."""
    seeds: int = 4
    """Trainings of each trial: from the config's seed, the one after it, and so on. With the
    methods "pbt" and "halving" there is one of each."""
    objective: str | None = None
    """What is maximised: "mean" or "IQM" over seeds, of each seed's mean return in full episodes at
    the end; by default `rljax.statistics.central_name`, the mean of fewer than 8 seeds."""
    batch: int = 0
    """Trials that train together; 0 for as many as are fast and fit into memory."""
    devices: int = 0
    """Devices that share the members of a batch; 0 for all there are."""
    sampler: str = "tpe"
    """Optuna's sampler, for the method "bayes"."""
    interval_env_steps: int = 0
    """Environment steps from one selection to the next, for the method "pbt"; 0 for a twentieth of
    the run."""
    eta: int = 3
    """One trial in so many goes on, for the method "halving"."""
    first_env_steps: int = 0
    """Environment steps before the first cut, for the method "halving"; 0 for as few as leave one
    trial at the end."""


@dataclass(frozen=True)
class Sweep:
    """A sweep, every value resolved: equal ones have the same trials, trained alike."""

    config: Config
    settings: Settings
    space: Space

    def toml(self) -> str:
        """Settings and space as a `.sweep.toml` file has them."""
        import tomlkit

        document = tomlkit.document()
        document["sweep"] = {k: v for k, v in vars(self.settings).items() if v is not None}
        for key, distribution in self.space.items():
            section, name = key.split(".")
            if section not in document:
                document[section] = tomlkit.table()
            entry = tomlkit.inline_table()
            entry.update(distribution.table())
            document[section][name] = entry  # type: ignore[index]
        return tomlkit.dumps(document)

    def trial_config(self, params: Mapping[str, Any]) -> Config:
        """The config of a trial: that of a run over its seeds."""
        config = self.config.varied(params, "sweep")
        return replace(config, top=replace(config.top, num_seeds=self.settings.seeds))


def names() -> list[str]:
    """The keys of `[sweep]`."""
    return [f.name for f in fields(Settings)]


def beside(config: str | Path) -> Path:
    """The space beside a config: `cartpole.sweep.toml` for `cartpole.toml`.

    Raises UsageError if there is none.
    """
    path = Path(config).with_suffix(".sweep.toml")
    if not path.exists():
        raise UsageError(f"there is no {path} beside the config: write it, or give --space")
    return path


def read(path: str | Path) -> dict[str, Any]:
    """The tables of a `.sweep.toml` file. Raises UsageError if it is missing or not TOML."""
    return configs.read(path, "search space")


def resolve(
    config: Config,
    tables: Mapping[str, Any],
    flags: Mapping[str, Any] | None = None,
    where: str = "search space",
) -> Sweep:
    """A sweep of a config from the tables of a `.sweep.toml`, and settings that go before it.

    Args:
        config: the experiment; what does not vary is as it says.
        tables: `sweep`, `hparams` and `structure`.
        flags: settings by name.
        where: how errors name the tables.

    Raises UsageError, in one sentence, for what is not known, does not fit or cannot vary.
    """
    tables = dict(tables)
    given = tables.pop("sweep", {})
    if not isinstance(given, Mapping):
        raise UsageError(f"{where}: sweep is a section: write [sweep] above its keys")
    known = {f"sweep.{f.name}": (f.type, f.default) for f in fields(Settings)}
    entries = {f"sweep.{name}": (value, where) for name, value in given.items()}
    for key in entries:
        if key == "sweep.seed":
            raise UsageError(f"{where}: the seed of a sweep is its config's: give --seed")
        check_key(key, known, where)
    entries |= {f"sweep.{name}": (value, f"--{name}") for name, value in (flags or {}).items()}
    values = typed(known, entries)
    if "sweep.seeds" not in entries and values["sweep.method"] in methods.METHODS:
        values["sweep.seeds"] = methods.get(values["sweep.method"]).seeds
    values["sweep.objective"] = values["sweep.objective"] or central_name(values["sweep.seeds"])
    settings = Settings(**{key.split(".")[1]: value for key, value in values.items()})
    _check_settings(settings)
    sweep = Sweep(config, settings, spaces.parse(tables, config, where))
    return methods.get(settings.method).complete(sweep)


def _check_settings(settings: Settings) -> None:
    for name, known in (
        ("method", methods.METHODS),
        ("objective", STATISTICS),
        ("sampler", SAMPLERS),
    ):
        value = getattr(settings, name)
        check_known(f"{name}", value, known)
    least_of = {"trials": 1, "seeds": 1, "batch": 0, "devices": 0, "eta": 2}
    least_of |= {"interval_env_steps": 0, "first_env_steps": 0}
    for name, least in least_of.items():
        value = getattr(settings, name)
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, not {value}")
