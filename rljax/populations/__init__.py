"""Populations that select among their members: on the device, because members are only state."""

from rljax.populations.ranges import Range

__all__ = ["Range"]
