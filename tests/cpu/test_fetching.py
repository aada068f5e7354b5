import jax
import jax.numpy as jnp
import numpy as np

from rljax import _cpu
from rljax._cpu import fetching


def test_a_result_is_fetched_whether_it_is_there_soon_or_late():
    # Half a second of products, so that the fetch stops asking and waits.
    late = jax.jit(lambda x: jax.lax.fori_loop(0, 200, lambda _, y: y @ x, x))
    x = jnp.eye(700)
    for function in (late, jax.jit(lambda x: x + 1)):
        with _cpu.tuning(True):
            fetched = _cpu.fetch(function(x))
        np.testing.assert_array_equal(fetched, function(x))


def test_it_asks_for_a_short_time_and_only_where_the_switch_is_on(monkeypatch):
    class Never:
        asked = 0

        def is_ready(self):
            self.asked += 1
            return False

        def __array__(self, *_, **__):
            return np.ones(3)

    monkeypatch.setattr(fetching, "LONGEST_SPIN", 1e-3)
    on, off = Never(), Never()
    with _cpu.tuning(True):
        np.testing.assert_array_equal(_cpu.fetch(on), np.ones(3))
    with _cpu.tuning(False):
        np.testing.assert_array_equal(_cpu.fetch(off), np.ones(3))
    assert on.asked > 0 and off.asked == 0
