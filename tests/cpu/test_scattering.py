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


@pytest.mark.parametrize("places", [1, 8, 9])
def test_sums_are_those_of_a_scatter_to_the_bit(places):
    index, values = given(places)
    for found, x in zip(jax.jit(sums)(index, values), values, strict=True):
        np.testing.assert_array_equal(found, jnp.zeros(SHAPE).at[index].add(x))
        assert np.count_nonzero(found) < found.size  # 8 and 9 places have a cell in common


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
