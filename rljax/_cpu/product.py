"""A matrix product whose gradient is fast on a CPU, too."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """`x @ w` of features [..., I] and weights [I, O].

    The gradient of the weights is `x.T @ g`, which sums over the leading axis of both factors.
    XLA's fast CPU kernels do not take that form: at 2,048 rows and one or two outputs it costs as
    much as the layers before it. The derivative here is the same numbers in a form that they do
    take, held in place by a barrier because XLA would simplify it back.
    """
    return x @ w


@product.defjvp
def _product_jvp(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    out = x @ w
    rows = x.reshape(-1, x.shape[-1])
    if jax.default_backend() != "cpu":
        moved = rows @ dw
    elif w.shape[1] <= 8:  # as measured
        moved = jnp.einsum("bi,oi->bo", rows, jax.lax.optimization_barrier(dw.T))
    else:
        moved = jnp.einsum("ib,io->bo", jax.lax.optimization_barrier(rows.T), dw)
    return out, dx @ w + moved.reshape(out.shape)
