"""Versions of the parameters, for an actor that lags behind."""

import jax
import jax.numpy as jnp

from rljax.errors import check_count
from rljax.types import Batch, Key, Params, Update, UpdateState
from rljax.updates.composition import run


def remember_parameters(update: Update, lag: int) -> Update:
    """Wrap `update` so that it learns the part "online", and the versions before it are kept.

    For the parameters of `actors.lagged`: the version that `update` was given becomes the last of
    the part "behaviour", and the oldest is dropped. `update` is given the part "online" alone, so
    it can be the update of any agent. With a lag of 0 it is returned as it is.

    The metric `charts/policy_lag` is the age in iterations of the version that acted: `lag`, or
    fewer in the first iterations.

    Raises UsageError for a lag that is not a whole number of at least 0.
    """
    check_count(policy_lag=lag)
    if lag == 0:
        return update

    def init(params: Params, key: Key) -> UpdateState:
        return jnp.int32(0), update.init(params["online"], key)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        age, inner = state
        before = params["online"]
        online, inner, batch, metrics = run(update, before, inner, batch, key)
        versions = jax.tree.map(
            lambda kept, new: jnp.concatenate([kept[1:], new[None]]), params["behaviour"], before
        )
        metrics = {**metrics, "charts/policy_lag": age.astype(jnp.float32)}
        params = {**params, "online": online, "behaviour": versions}
        return params, (jnp.minimum(age + 1, lag), inner), batch, metrics

    return Update(init, apply)
