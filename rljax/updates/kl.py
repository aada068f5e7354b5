"""A penalty on how far the policy moves, whose strength adapts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.ops.policy_gradient import adapted_kl_coef
from rljax.types import Batch, Key, Params, Update, UpdateState
from rljax.updates.composition import run


def adaptive_kl(
    update: Update,
    outputs: Callable[[Params, Batch], jax.Array],
    kl: Callable[[jax.Array, jax.Array], jax.Array],
    target_kl,
    initial_kl_coef,
) -> Update:
    """Wrap `update` with the coefficient of a KL penalty, adapted after each batch.

    Args:
        update: what fits the policy; it may read the extras written here.
        outputs: `(params, batch) -> [T, N, K]`, the policy's outputs.
        kl: `(old outputs, new outputs) -> [T, N]` in nats.
        target_kl: the KL aimed at per batch, in nats.
        initial_kl_coef: the coefficient to start from.

    Writes old_outputs [T, N, K] and kl_coef [T, N]; metrics `losses/kl` and `losses/kl_coef`.
    Source: Schulman et al. 2017, section 4, https://arxiv.org/abs/1707.06347.
    """

    def init(params: Params, key: Key) -> UpdateState:
        return jnp.asarray(initial_kl_coef, jnp.float32), update.init(params, key)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        kl_coef, inner = state
        old = outputs(params, batch)
        batch = batch.annotate(
            old_outputs=old, kl_coef=jnp.broadcast_to(kl_coef, batch.reward.shape)
        )
        params, inner, batch, metrics = run(update, params, inner, batch, key)
        moved = collectives.pmean(jnp.mean(kl(old, outputs(params, batch))))
        metrics = {**metrics, "losses/kl": moved, "losses/kl_coef": kl_coef}
        return params, (adapted_kl_coef(kl_coef, moved, target_kl), inner), batch, metrics

    return Update(init, apply)
