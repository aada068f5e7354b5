"""Gymnasium's spaces as ours, and the observations and actions that are in them.

Gymnasium describes what simulators of the host give and take, those of EnvPool as well. JAX
computes with 32 bits, so float64 becomes float32, and int64 becomes int32.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError
from rljax.types import Obs

NARROWED = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}


def observation_space(space: Any, name: str) -> spaces.Space:
    """Our description of the observations of the environment `name`.

    A Discrete that does not start at 0 is shifted, and a MultiBinary is a box of bools. Raises
    UsageError for spaces that have no counterpart.
    """
    from gymnasium import spaces as theirs

    match space:
        case theirs.Discrete():
            return spaces.Discrete(int(space.n))
        case theirs.Box():
            return _box(space, name)
        case theirs.MultiBinary():
            return spaces.Box(0, 1, tuple(space.shape), np.bool_)
        case theirs.Dict():
            parts = {key: observation_space(part, name) for key, part in space.spaces.items()}
            return spaces.Dict(parts)
    raise UsageError(
        f"{name} observes {_named(space)}, which has no counterpart in rljax.envs.spaces: wrap it "
        "so that it observes Box, Discrete, MultiBinary or a Dict of these, for example with "
        "gymnasium.wrappers.FlattenObservation"
    )


def action_space(space: Any, name: str) -> spaces.Space:
    """Our description of the actions of the environment `name`: Discrete, or a Box of floats.

    Raises UsageError for others.
    """
    from gymnasium import spaces as theirs

    match space:
        case theirs.Discrete():
            return spaces.Discrete(int(space.n))
        case theirs.Box() if np.issubdtype(space.dtype, np.floating):
            return _box(space, name)
    raise UsageError(
        f"{name} acts in {_named(space)}, and agents act in Discrete or in a Box of floats: wrap "
        "it with gymnasium.wrappers.TransformAction, which maps one of these to its actions"
    )


def _box(space: Any, name: str) -> spaces.Box:
    dtype = np.dtype(NARROWED.get(np.dtype(space.dtype).name, space.dtype))
    low, high = np.asarray(space.low), np.asarray(space.high)
    if dtype != space.dtype and np.issubdtype(dtype, np.integer):
        fits = np.iinfo(dtype)
        if np.any(low < fits.min) or np.any(high > fits.max):
            raise UsageError(
                f"{name} has {_named(space)}, and JAX computes with 32 bits: wrap it so that the "
                f"bounds are within [{fits.min}, {fits.max}]"
            )
    with np.errstate(over="ignore"):  # What is beyond float32 is infinite there.
        return spaces.Box(low, high, tuple(space.shape), dtype)


def _named(space: Any) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def rows(space: Any, ours: spaces.Space, observations: Sequence[Any]) -> Obs:
    """Observations of Gymnasium's space as a batch [N, ...] of ours."""
    if isinstance(ours, spaces.Dict):
        return {
            key: rows(space.spaces[key], part, [obs[key] for obs in observations])
            for key, part in ours.spaces.items()
        }
    batch = np.array(observations, ours.dtype)
    start = getattr(space, "start", 0)
    return batch - batch.dtype.type(start) if start else batch


def write(space: Any, batch: Obs, index: int, obs: Any) -> None:
    """Copy an observation of Gymnasium's space into a row of our batch."""
    if isinstance(batch, dict):
        for key, part in space.spaces.items():
            write(part, batch[key], index, obs[key])
    else:
        start = getattr(space, "start", 0)
        batch[index] = obs - start if start else obs


def batched(space: Any, ours: spaces.Space, obs: Any) -> Obs:
    """A batch [N, ...] of Gymnasium's (single) space as a new one of ours."""
    if isinstance(ours, spaces.Dict):
        return {
            key: batched(space.spaces[key], part, obs[key]) for key, part in ours.spaces.items()
        }
    start = getattr(space, "start", 0)
    return np.array(obs - start if start else obs, ours.dtype, order="C")


def copied(batch: Obs) -> Obs:
    """A copy of a batch."""
    if isinstance(batch, dict):
        return {key: copied(part) for key, part in batch.items()}
    return batch.copy()


def row(batch: Any, index: int) -> Any:
    """One observation of a batch."""
    if isinstance(batch, dict):
        return {key: row(part, index) for key, part in batch.items()}
    return batch[index]


def actions(space: Any, given: np.ndarray) -> np.ndarray:
    """Our actions [N, ...] as a new array of those of Gymnasium's space."""
    new = np.array(given, space.dtype)
    if hasattr(space, "start"):
        return new + space.start
    if space.dtype != np.float32:  # A bound rounded to float32 may be beyond the true one.
        new = np.clip(new, space.low, space.high)
    return new
