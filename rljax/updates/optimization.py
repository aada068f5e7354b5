"""The one place where a loss becomes new parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from rljax import collectives
from rljax.networks import RunningStatistics
from rljax.ops.exploration import linear_schedule
from rljax.types import Batch, Key, Metrics, Params, Parts, Update, UpdateState
from rljax.updates.composition import in_parts

Loss = Callable[[Params, Batch, Key], tuple[jax.Array, Metrics]]


def gradient(
    loss: Loss, optimizer: optax.GradientTransformation, part: str | None = None
) -> Update:
    """One gradient step on a batch, the whole of it where devices share it.

    Reads what `loss(params, batch, key) -> (scalar, metrics)` reads. Those of the metrics that are
    arrays [T, N], or trees, are written into the batch, the scalars reported. Adds the metric
    `losses/grad_norm`, the global norm before any clipping; of a part other than "online" its name
    is `losses/PART_grad_norm`. Running statistics inside the parameters are left to the updates
    that keep them.

    With `part`, only the part of that name of the parameters learns; the loss is given all of them.

    It is in parts: a contribution is the gradients, a tree like the parameters that learn, and they
    are absorbed by the optimizer's step.
    """
    optimizer = optax.masked(optimizer, _trainable)
    grad_norm = "grad_norm" if part in (None, "online") else f"{part}_grad_norm"

    def learning(params: Params) -> Params:
        return params if part is None else params[part]

    def with_learnt(params: Params, learnt: Params) -> Params:
        return learnt if part is None else {**params, part: learnt}

    def init(params: Params, key: Key) -> UpdateState:
        return optimizer.init(learning(params))

    def contribute(whole: Params, batch: Batch, key: Key):
        def loss_of(params: Params) -> tuple[jax.Array, Metrics]:
            return loss(with_learnt(whole, params), batch, key)

        params = learning(whole)
        grads, metrics = jax.grad(loss_of, has_aux=True)(params)
        fields = {name: x for name, x in metrics.items() if isinstance(x, dict) or jnp.ndim(x)}
        batch = batch.annotate(**fields) if fields else batch
        metrics = {name: x for name, x in metrics.items() if name not in fields}
        grads, metrics = collectives.pmean((grads, metrics))
        grads = jax.tree.map(
            lambda trains, part: part if trains else jax.tree.map(jnp.zeros_like, part),
            _trainable(params),
            grads,
        )
        metrics[f"losses/{grad_norm}"] = optax.global_norm(grads)
        return grads, batch, metrics

    def absorb(whole: Params, state: UpdateState, grads: Params):
        params = learning(whole)
        steps, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, steps)
        return with_learnt(whole, params), state, {}

    return in_parts(init, Parts(contribute, absorb))


def _trainable(params: Params):
    """True for every part of the parameters but running statistics, which have no gradient."""

    def is_statistics(node) -> bool:
        return isinstance(node, RunningStatistics)

    return jax.tree.map(lambda node: not is_statistics(node), params, is_leaf=is_statistics)


def clipped_adam(
    lr, max_grad_norm, eps=1e-5, rectified: bool = False
) -> optax.GradientTransformation:
    """Adam behind a clip of the gradients' global norm.

    Args:
        lr: the learning rate.
        max_grad_norm: the global norm at which gradients are clipped.
        eps: Adam's denominator offset.
        rectified: whether to hold the first steps back until their variance is known (RAdam, Liu
            et al. 2020, https://arxiv.org/abs/1908.03265).
    """
    adam = optax.radam if rectified else optax.adam
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), adam(lr, eps=eps))


def learning_rate(lr, progress, anneal: bool):
    """`lr`, or where it is annealed its value when the part `progress` of the schedule is done.

    It falls in a line, and is 0 where progress is 1.
    """
    return linear_schedule(lr, 0.0, progress, 1.0) if anneal else lr
