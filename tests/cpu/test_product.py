import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax._cpu import product, tuning

SHAPES = [
    ((32, 4), (4, 8)),
    ((32, 8), (8, 2)),
    ((32, 8), (8, 8)),
    ((4, 5, 6, 8), (8, 3)),
    ((8,), (8, 3)),
]


def inputs(x_shape, w_shape):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (x_shape, w_shape, x_shape, w_shape)
    return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(("x_shape", "w_shape"), SHAPES)
def test_value_and_both_derivatives_are_those_of_the_plain_product(x_shape, w_shape):
    x, w, dx, dw = inputs(x_shape, w_shape)

    def everything(multiply):
        value, tangent = jax.jvp(multiply, (x, w), (dx, dw))
        grads = jax.grad(lambda x, w: jnp.sum(jnp.sin(multiply(x, w))), (0, 1))(x, w)
        return value, tangent, grads

    ours, plain = everything(product), everything(jnp.matmul)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, plain)


@pytest.mark.long
def test_vmap_and_second_derivatives():
    x, w, *_ = inputs((3, 16, 4), (3, 4, 2))

    def curvature(multiply):
        def loss(x, w):
            return jnp.sum(jnp.square(jnp.tanh(multiply(x, w))))

        return jax.vmap(jax.hessian(loss, argnums=1))(x, w)

    np.testing.assert_allclose(curvature(product), curvature(jnp.matmul), atol=1e-4)


def gradient_for(platform: str) -> str:
    """The program of the gradient of the weights, lowered for a platform that need not be there."""
    x, w, *_ = inputs((32, 4), (4, 2))
    gradient = jax.jit(jax.grad(lambda w: jnp.sum(jnp.sin(product(x, w)))))
    return gradient.trace(w).lower(lowering_platforms=(platform,)).as_text()


def test_the_platform_decides_that_a_program_is_lowered_for():
    """And not what else is in the process: these tests have CPUs alone."""
    assert "optimization_barrier" in gradient_for("cpu")
    assert "optimization_barrier" not in gradient_for("cuda")


def test_without_tuning_it_is_the_plain_product():
    with tuning(False):
        assert "optimization_barrier" not in gradient_for("cpu")
