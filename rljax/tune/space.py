"""The search space: which keys of a config vary, and over what. Does not import JAX."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rljax import agents
from rljax.errors import UsageError, check_known
from rljax.experiments import config as configs
from rljax.experiments.config import AGENT_SECTIONS, Config
from rljax.experiments.config_values import check_key, convert
from rljax.hparams import check_number
from rljax.tune import ranges
from rljax.tune.ranges import Range

FIXED = {
    "env": "returns of different environments do not compare",
    "agent": "each agent has hyperparameters of its own",
    "seed": "seeds are repetitions of a trial: write seeds = 4 under [sweep]",
    "num_seeds": "seeds are repetitions of a trial: write seeds = 4 under [sweep]",
    "total_env_steps": "trials of different lengths do not compare",
    "devices": "where a trial is computed does not change what it learns",
    "spread": "where a trial is computed does not change what it learns",
    "evaluation": "trials that are judged differently do not compare",
    "checkpoint": "it does not change what a trial learns",
    "logging": "it does not change what a trial learns",
}
"""Keys and sections of a config that no sweep varies, and why."""


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def sample(self, random: np.random.Generator) -> Any:
        """One value, each as likely as the others."""
        return self.values[random.integers(len(self.values))]

    def points(self) -> tuple[Any, ...]:
        """The values that a grid takes: all."""
        return self.values

    def table(self) -> dict[str, Any]:
        """As TOML has it."""
        return {"values": [list(v) if isinstance(v, tuple) else v for v in self.values]}


Distribution = Range | Choice
Space = dict[str, Distribution]
"""Dotted key, such as "hparams.lr", to what it may be."""


def parse(tables: Mapping[str, Any], config: Config, where: str) -> Space:
    """The space that `[hparams]` and `[structure]` of a TOML file describe, for a config.

    Raises UsageError, in one sentence, for a key that does not exist (with the nearest one that
    does) or cannot vary, a range that is empty or does not fit its scale, a value of the wrong
    type, and a space without any key. Imports JAX.
    """
    schema = configs.agent_schema(config.top.agent)
    kind = agents.factory(config.top.agent).Hparams
    space: Space = {}
    for section, table in tables.items():
        if section in FIXED:
            raise UsageError(f"{where}: {section} cannot vary in a sweep: {FIXED[section]}")
        if section not in AGENT_SECTIONS:
            known = ["sweep", *AGENT_SECTIONS]
            check_known(f"{where}:", section, known)
        if not isinstance(table, Mapping):
            raise UsageError(f"{where}: {section} is a section: write [{section}] above its keys")
        for name, entry in table.items():
            key = f"{section}.{name}"
            check_key(key, schema, where)
            space[key] = found = _distribution(key, entry, where, schema[key][0])
            if section == "hparams":
                ends = (found.low, found.high) if isinstance(found, Range) else found.values
                check_number(kind, name, ends, f"{where}: {key}")
    if not space:
        raise UsageError(
            f"{where}: the search space is empty: write, say, "
            '[hparams] and lr = { low = 1e-5, high = 1e-2, scale = "log" } below it'
        )
    return space


def structure_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a trial's parameters that has to be compiled."""
    return {key: value for key, value in params.items() if key.startswith("structure.")}


def _distribution(key: str, entry: Any, where: str, kind: Any) -> Distribution:
    place = f"{where}: {key}"
    if not isinstance(entry, Mapping):
        raise UsageError(
            f"{place} must be {{ low = ..., high = ... }} or {{ values = [...] }}, not {entry!r}"
        )
    if "values" in entry:
        _check_names(entry, ("values",), place)
        values = entry["values"]
        if not isinstance(values, list) or not values:
            raise UsageError(f"{place}: values must be a list of at least one, not {values!r}")
        choices = tuple(convert(key, value, where, kind) for value in values)
        if len({*choices}) < len(choices):
            raise UsageError(f"{place}: values has one of them twice: {values}")
        return Choice(choices)
    _check_names(entry, ("low", "high", "scale", "num", "values"), place)
    if key.startswith("structure."):
        raise UsageError(
            f"{place} is compiled, so it takes a list: write {{ values = [...] }}, not a range"
        )
    for bound in ("low", "high"):
        if bound not in entry:
            raise UsageError(f"{place} has no {bound}: write {{ low = ..., high = ... }}")
    found = ranges.check(Range(**entry), place)
    return replace(found, low=float(found.low), high=float(found.high))


def _check_names(entry: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for name in entry:
        check_known(f"{place}:", name, known)
