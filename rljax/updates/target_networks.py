"""Target networks: parameters that follow those that learn."""

import jax
import jax.numpy as jnp
import optax

from rljax.errors import check_positive
from rljax.types import Batch, Key, Params, Update, UpdateState


def target_network(tau, period: int = 1, part: str = "online", target: str = "target") -> Update:
    """Move the target network towards the parameters that learn, by a part `tau` of the way.

    Reads the parameters' part `part` and replaces their part `target`, as `networks.with_target`
    makes them; leaves the batch as it is. The first time and every `period` times from then on.

    Args:
        tau: how far it moves each time; 1 is a copy.
        period: calls from one move to the next.
        part: name of the parameters that learn.
        target: name of those that follow.

    Source: Mnih et al. 2015, https://doi.org/10.1038/nature14236 (copies); Lillicrap et al. 2016,
    section 3, https://arxiv.org/abs/1509.02971 (tau).
    """
    check_positive(target_period=period)

    def init(params: Params, key: Key) -> UpdateState:
        return jnp.int32(0)

    def apply(params: Params, count: UpdateState, batch: Batch, key: Key):
        moved = optax.incremental_update(params[part], params[target], tau)
        due = count % period == 0
        new = jax.tree.map(lambda new, old: jnp.where(due, new, old), moved, params[target])
        return {**params, target: new}, count + 1, batch, {}

    return Update(init, apply)
