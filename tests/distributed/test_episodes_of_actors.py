from types import SimpleNamespace

import numpy as np

from rljax.distributed.actors import Actor
from rljax.envs.simulators import Steps


def test_an_episode_that_is_not_finite_leaves_the_next_ones_alone():
    score = np.array([[1, 2], [np.inf, 2], [3, 2]], np.float32)
    over = np.array([[False, False], [True, False], [False, True]])
    steps = Steps((), score, over, over, (), score, over)
    actor = SimpleNamespace(_score=np.array([10, 0], np.float32), _steps=np.array([4, 0], np.int32))
    found = Actor._episodes(actor, steps)
    np.testing.assert_array_equal(found.score, [[11, 2], [np.inf, 4], [3, 6]])
    np.testing.assert_array_equal(found.length, [[5, 1], [6, 2], [1, 3]])
    np.testing.assert_array_equal(actor._score, [3, 0])
    np.testing.assert_array_equal(actor._steps, [1, 0])
