"""Results of small programs, fetched without sleeping."""

import time

import jax
import numpy as np

from rljax._cpu import switch

LONGEST_SPIN = 1e-4
"""Seconds; as measured, a small policy takes half of it."""


def fetch(x: jax.Array) -> np.ndarray:
    """`np.asarray(x)`, sooner if the result is there within microseconds.

    A program that runs on another thread wakes the one that waits for it, which takes longer than a
    small program does. So this asks again and again for a short time before it waits.
    """
    if switch.is_on():
        until = time.perf_counter() + LONGEST_SPIN
        ready = x.is_ready  # type: ignore[attr-defined]  # not in the stubs of jax.Array
        while not ready() and time.perf_counter() < until:
            pass
    return np.asarray(x)
