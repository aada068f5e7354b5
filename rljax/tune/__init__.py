"""Tuning: sweeps over a config, and populations that select among their members."""

from rljax.tune.ranges import Range
from rljax.tune.sweeps import Result, resolve, resume, run

__all__ = ["Range", "Result", "resolve", "resume", "run"]
