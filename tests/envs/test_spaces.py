import numpy as np
import pytest

from rljax.envs.spaces import Box, Dict, Discrete, describe


@pytest.mark.parametrize(
    "space, expected",
    [
        (Discrete(2), "Discrete(2)"),
        (Box(-1, 2.5, (4,)), "Box(4,) float32 in [-1, 2.5]"),
        (Box(0, 255, (8, 8, 3), np.uint8), "Box(8, 8, 3) uint8 in [0, 255]"),
        (Box(0, np.inf, (2,)), "Box(2,) float32"),
        (Dict({"a": Discrete(3), "b": Box(0, 1, ())}), "Dict(a: Discrete(3), b: Box() float32 in"),
        ("a string", "str"),
    ],
)
def test_describe(space, expected):
    assert describe(space).startswith(expected)


@pytest.mark.parametrize(
    "low, high, bounded",
    [(-1, 1, True), (-np.inf, 1, False), ([0, 0], [1, np.inf], False), ([0, -2], [1, 5], True)],
)
def test_box_broadcasts_its_bounds_and_knows_whether_they_are_finite(low, high, bounded):
    box = Box(low, high, (3, 2))
    assert box.bounded == bounded
    for side, given in (box.low, low), (box.high, high):
        np.testing.assert_array_equal(side, np.broadcast_to(given, (3, 2)))
        assert side.dtype == np.float32
