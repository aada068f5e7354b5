import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import networks
from rljax._cpu import in_pieces, pieces, tuning
from rljax.networks.layers import Convolution

ROWS = jax.random.normal(jax.random.key(0), (12, 5))


@pytest.fixture
def small(monkeypatch):
    """Pieces of two rows of five numbers."""
    monkeypatch.setattr(pieces, "MOST_NUMBERS", 14)


def both(x, w):
    def loss(x, w):
        return jnp.sum(jnp.sin(in_pieces(lambda x: jnp.tanh(x @ w), x, 5)))

    return jax.value_and_grad(loss, (0, 1))(x, w)


def test_values_and_gradients_are_those_of_all_rows_at_once(small):
    w = jax.random.normal(jax.random.key(1), (5, 3))
    with tuning(False):
        expected = both(ROWS, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), both(ROWS, w), expected)


@pytest.mark.parametrize("rows, piece", [(12, 2), (7, 1), (2, 2)])
def test_a_piece_is_an_equal_part_and_never_too_large(small, rows, piece):
    seen = set()
    in_pieces(lambda x: (seen.add(x.shape), x)[1], ROWS[:rows], 5)
    assert (piece, 5) in seen and seen <= {(piece, 5), (rows, 5)}  # all rows on other platforms


def test_a_program_for_another_platform_has_no_loop(small):
    program = jax.jit(lambda x: in_pieces(jnp.tanh, x, 5)).trace(ROWS)
    assert "while" in program.lower(lowering_platforms=("cpu",)).as_text()
    assert "while" not in program.lower(lowering_platforms=("cuda",)).as_text()


def test_a_large_convolution_is_quantized_like_a_small_one(monkeypatch):
    layer = Convolution(3, 3)
    net = networks.Network(
        init=lambda key: layer.init(key, x),
        apply=lambda params, obs, carry, key: (layer.apply(params, obs), carry),
    )
    x = jax.random.normal(jax.random.key(2), (4, 6, 6, 2))
    params = net.init(jax.random.key(3))
    rounded = networks.quantized(net, activation_bits=8)
    expected = rounded.apply(params, x, (), None)[0]
    monkeypatch.setattr(pieces, "MOST_NUMBERS", 300)
    assert "scan" in str(jax.make_jaxpr(layer.apply)(params, x))
    np.testing.assert_allclose(rounded.apply(params, x, (), None)[0], expected, rtol=1e-5)
