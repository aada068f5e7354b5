from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.replay import size_in_bytes
from rljax.replay.packing import layout, pack, unpack

SHAPES = [(), (1,), (3,), (4,), (2, 3), (5, 1, 2), (8, 8), (0,)]
DTYPES = ["bool", "uint8", "int8", "float16", "bfloat16", "int16", "uint32", "int32", "float32"]
WIDE = ["int64", "uint64", "float64"]
packed_by = jax.jit(pack, static_argnums=0)
unpacked_by = jax.jit(unpack, static_argnums=0)


def random_bits(shape, dtype, seed=0):
    """Any bits that the type has: of floats also infinities, signed zeros and every NaN."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return jnp.asarray(rng.random(shape) < 0.5)
    dtype = jnp.dtype(dtype)
    raw = rng.integers(256, size=(*shape, dtype.itemsize), dtype=np.uint8)
    return jnp.asarray(raw.view(dtype).reshape(shape))


def assert_same_bits(mine, given):
    assert mine.shape == given.shape and mine.dtype == given.dtype
    assert np.asarray(mine).tobytes() == np.asarray(given).tobytes()


@pytest.mark.parametrize("leading", [(), (3, 2)])
@pytest.mark.parametrize("dtypes", [DTYPES, WIDE], ids=["small", "wide"])
def test_arrays_of_any_type_and_shape_come_back_bit_for_bit(dtypes, leading):
    with jax.enable_x64(dtypes is WIDE):
        rows = {
            (dtype, shape): random_bits((*leading, *shape), dtype, seed)
            for seed, (dtype, shape) in enumerate(product(dtypes, SHAPES))
        }
        how = layout(rows, len(leading))
        packed = packed_by(how, rows)
        assert packed.shape == (*leading, how.words) and packed.dtype == jnp.uint32
        back = unpacked_by(how, packed)
        jax.tree.map(assert_same_bits, back, rows)


def test_what_floats_do_not_compare_equal_by_comes_back():
    special = np.array([0x7FC00001, 0xFFA5A5A5, 0x7F800001, 0x80000000, 1], np.uint32)
    rows = jnp.asarray(special.view(np.float32))
    how = layout(rows, 1)
    assert_same_bits(unpack(how, pack(how, rows)), rows)
    np.testing.assert_array_equal(pack(how, rows)[:, 0], special)


def test_a_mixed_row_keeps_its_structure_and_order():
    rows = {
        "image": random_bits((6, 5, 5, 3), "uint8", 1),
        "flags": (random_bits((6,), "bool", 2), random_bits((6,), "bool", 3)),
        "number": random_bits((6,), "float32", 4),
        "half": random_bits((6, 3), "float16", 5),
    }
    how = layout(rows, 1)
    shapes = jax.tree.map(lambda x: (x.shape[1:], x.dtype), rows)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), how.row) == shapes
    packed = packed_by(how, rows)
    jax.tree.map(assert_same_bits, unpacked_by(how, packed), rows)
    # Any rows in any arrangement, also one by one.
    chosen = jnp.array([[5, 0], [3, 3]])
    some = jax.tree.map(lambda x: np.asarray(x)[chosen], rows)
    jax.tree.map(assert_same_bits, unpacked_by(how, packed[chosen]), some)
    mapped = jax.jit(jax.vmap(lambda row: unpack(how, row)))(packed)
    jax.tree.map(assert_same_bits, mapped, rows)


@pytest.mark.parametrize(
    "shape, dtype, words",
    [
        ((84, 84, 4), "uint8", 84 * 84),
        ((10, 10, 4), "bool", 100),
        ((), "bool", 1),
        ((5,), "uint8", 2),
        ((3,), "bfloat16", 2),
        ((7,), "float32", 7),
        ((0,), "float32", 0),
    ],
)
def test_rows_take_no_more_than_whole_words(shape, dtype, words):
    row = jax.ShapeDtypeStruct((2, *shape), dtype)
    assert layout(row, 1).words == words
    assert size_in_bytes(jax.eval_shape(lambda x: pack(layout(x, 1), x), row)) == 2 * 4 * words


def test_layouts_are_equal_where_rows_are_alike():
    rows = {"a": jnp.zeros((2, 3)), "b": jnp.zeros((2,), bool)}
    how = layout(rows, 1)
    same = layout(jax.tree.map(lambda x: jnp.stack([x] * 5), rows), 2)
    assert same == how and hash(same) == hash(how)
    for other in (
        {**rows, "b": jnp.zeros((2,), jnp.uint8)},
        {**rows, "a": jnp.zeros((2, 3, 1))},
        {"a": rows["a"], "c": rows["b"]},
    ):
        assert layout(other, 1) != how
