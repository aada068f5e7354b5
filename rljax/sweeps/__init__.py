"""Sweeps: many trainings of one config with other numbers, as few compiled programs."""

from rljax.sweeps.running import Result, resolve, resume, run

__all__ = ["Result", "resolve", "resume", "run"]
