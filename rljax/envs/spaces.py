"""What an observation or an action may be, described without JAX."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Discrete:
    """The integers 0 to n - 1."""

    n: int
    shape: tuple[int, ...] = ()
    dtype: Any = np.int32


@dataclass(frozen=True, eq=False)
class Box:
    """Arrays of one shape between two bounds (which may be infinite), broadcast to that shape."""

    low: Any
    high: Any
    shape: tuple[int, ...]
    dtype: Any = np.float32

    def __post_init__(self) -> None:
        # Floats even for integer boxes, because a bound may be infinite.
        dtype = np.result_type(self.dtype, np.float32)
        for side in ("low", "high"):
            bound = np.broadcast_to(np.asarray(getattr(self, side), dtype), self.shape)
            object.__setattr__(self, side, bound)

    @property
    def bounded(self) -> bool:
        """Whether every bound is finite."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    @property
    def middle(self) -> np.ndarray:
        """The mean of the bounds, where there are any."""
        return self.high / 2 + self.low / 2

    @property
    def half_range(self) -> np.ndarray:
        """Half the distance of the bounds, where there are any."""
        # Halved first, because the difference of the largest floats is infinite.
        return self.high / 2 - self.low / 2


@dataclass(frozen=True)
class Dict:
    """Several named spaces at once."""

    spaces: dict[str, Any]


Space = Discrete | Box | Dict


def describe(space: Space) -> str:
    """One phrase a person can read, such as `Box(4,) float32` or `Discrete(2)`."""
    match space:
        case Discrete(n=n):
            return f"Discrete({n})"
        case Box(shape=shape, dtype=dtype, bounded=bounded):
            limits = f" in [{space.low.min():g}, {space.high.max():g}]" if bounded else ""
            return f"Box{shape} {np.dtype(dtype).name}{limits}"
        case Dict(spaces=spaces):
            return "Dict(" + ", ".join(f"{k}: {describe(v)}" for k, v in spaces.items()) + ")"
    return type(space).__name__
