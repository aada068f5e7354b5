"""Comparing states of programs that do the same in another order."""

import numpy as np

SMALLEST_FLOAT = 0x00800000  # as a word; smaller ones are integers, and zero


def assert_equal_but_for_rounding(found, expected, rtol=1e-4, atol=1e-5):
    """Leaves by path: integers and keys to the bit, floats to rounding.

    A replay buffer stores words uint32, of which those that can be floats are taken as floats.
    """
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        one = found[path]
        assert (one.shape, one.dtype) == (array.shape, array.dtype), path
        if path.endswith("replay/storage"):
            is_float = array & 0x7FFFFFFF >= SMALLEST_FLOAT
            np.testing.assert_array_equal(one[~is_float], array[~is_float], err_msg=path)
            one, array = one[is_float].view(np.float32), array[is_float].view(np.float32)
        if np.issubdtype(array.dtype, np.floating):
            np.testing.assert_allclose(one, array, rtol, atol, err_msg=path)
        else:
            np.testing.assert_array_equal(one, array, err_msg=path)
