"""Replay buffers on the device: pure functions over one state."""

from rljax.replay.capacity import check_memory, size_in_bytes
from rljax.replay.prioritized_sampling import prioritized
from rljax.replay.ring import Replay, ReplayState, end_episodes
from rljax.replay.uniform_sampling import uniform

__all__ = [
    "Replay",
    "ReplayState",
    "check_memory",
    "end_episodes",
    "prioritized",
    "size_in_bytes",
    "uniform",
]
