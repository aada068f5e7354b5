import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax._cpu import scattering, sums_at, tuning

SHAPE = (3, 4)


def given(places: int):
    rng = np.random.default_rng(places)
    index = tuple(jnp.asarray(rng.integers(n, size=(places, 1)), jnp.int32) for n in SHAPE)
    return index, [jnp.asarray(rng.normal(size=(places, 1)), jnp.float32) for _ in range(2)]


def sums(index, values):
    return sums_at(index, values, SHAPE)


@pytest.mark.parametrize("places", [1, 4, 5])
def test_sums_are_those_of_a_scatter_to_the_bit(places):
    index, values = given(places)
    for found, x in zip(jax.jit(sums)(index, values), values, strict=True):
        np.testing.assert_array_equal(found, jnp.zeros(SHAPE).at[index].add(x))
        assert 0 < np.count_nonzero(found) <= x.size


def test_places_that_are_the_same_add_up():
    index = (jnp.array([[1], [1], [2]]), jnp.array([[3], [3], [0]]))
    (found,) = sums_at(index, [jnp.array([[1.0], [2.0], [4.0]])], SHAPE)
    assert found[1, 3] == 3.0 and found[2, 0] == 4.0 and found.sum() == 7.0


def test_only_a_few_places_on_a_cpu_are_compared():
    def scatters(places: int, platform: str = "cpu") -> bool:
        program = jax.jit(sums).trace(*given(places))
        return "scatter" in program.lower(lowering_platforms=(platform,)).as_text()

    assert not scatters(scattering.FEW_PLACES)
    assert scatters(scattering.FEW_PLACES + 1)
    assert scatters(scattering.FEW_PLACES, "cuda")
    with tuning(False):
        jax.clear_caches()
        assert scatters(scattering.FEW_PLACES)
