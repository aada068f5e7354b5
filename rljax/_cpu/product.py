"""A matrix product whose gradient is fast on a CPU, too."""

import jax
import jax.numpy as jnp

from rljax._cpu import switch

FEW_OUTPUTS = 8  # as measured


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """`x @ w` of features [..., I] and weights [I, O].

    The gradient of the weights is `x.T @ g`, which sums over the leading axis of both factors.
    XLA's fast CPU kernels do not take that form: at 2,048 rows and one or two outputs it costs as
    much as the layers before it. The derivative here is the same numbers in a form that they do
    take, held in place by a barrier because XLA would simplify it back.
    """
    return _product(x, w) if switch.is_on() else x @ w


@jax.custom_jvp
def _product(x: jax.Array, w: jax.Array) -> jax.Array:
    return x @ w


@_product.defjvp
def _product_jvp(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    out = x @ w
    rows = x.reshape(-1, x.shape[-1])
    moved = jax.lax.platform_dependent(rows, dw, cpu=_moved_on_cpu, default=jnp.matmul)
    return out, dx @ w + moved.reshape(out.shape)


def _moved_on_cpu(rows: jax.Array, dw: jax.Array) -> jax.Array:
    """`rows @ dw`, in the form whose transpose is fast."""
    if dw.shape[1] <= FEW_OUTPUTS:
        return jnp.einsum("bi,oi->bo", rows, jax.lax.optimization_barrier(dw.T))
    return jnp.einsum("ib,io->bo", jax.lax.optimization_barrier(rows.T), dw)
