"""The parts algorithms are made of: pure functions from experience to new parameters."""

from rljax.updates.chain import chain, stateless
from rljax.updates.epochs import epochs
from rljax.updates.gradient import clipped_adam, gradient
from rljax.updates.penalty import adaptive_kl
from rljax.updates.statistics import observation_statistics
from rljax.updates.targets import gae

__all__ = [
    "adaptive_kl",
    "chain",
    "clipped_adam",
    "epochs",
    "gae",
    "gradient",
    "observation_statistics",
    "stateless",
]
