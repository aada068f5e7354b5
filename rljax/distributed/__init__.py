"""Actors and a learner apart: how agents train on simulators of the host."""

from rljax.distributed.settings import distribute

__all__ = ["distribute"]
