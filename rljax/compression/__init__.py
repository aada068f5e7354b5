"""Smaller policies: a run is distilled, pruned and quantised into a new run."""

from rljax.compression.compressing import Settings, compress

__all__ = ["Settings", "compress"]
