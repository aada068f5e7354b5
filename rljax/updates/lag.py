"""Versions of the parameters, for an actor that lags behind."""

from typing import Any

import jax
import jax.numpy as jnp

from rljax.actors.lag import that_act
from rljax.actors.versions import with_newest
from rljax.errors import UsageError, check_count
from rljax.types import Batch, Key, Metrics, Params, Parts, Update, UpdateState
from rljax.updates.composition import in_parts, run


def remember_parameters(update: Update, lag: int, contribute: bool = False) -> Update:
    """Wrap `update` so that it learns the part "online", and the versions before it are kept.

    For the parameters of `actors.lagged`: the version that `update` was given becomes the last of
    the part "behaviour", and the oldest is dropped. `update` is given the part "online" alone, so
    it can be the update of any agent. With a lag of 0 it is returned as it is.

    The metric `charts/policy_lag` is the age in iterations of the version that acted: `lag`, or
    fewer in the first iterations.

    With `contribute`, the first part of `update` is given the version that acted, as actors of a
    parameter server have no other. So gradients are as old as actions are.

    Raises UsageError for a lag that is not a whole number of at least 0, and for an update that
    is not in parts where its first part is asked for.
    """
    check_count(policy_lag=lag)
    if contribute and update.parts is None:
        raise UsageError(
            "actors can compute gradients only where no update before the last one keeps a state: "
            "make each of them, such as first, with updates.stateless"
        )
    if lag == 0:
        return update

    def init(params: Params, key: Key) -> UpdateState:
        return jnp.int32(0), update.init(params["online"], key)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        age, inner = state
        online, inner, batch, metrics = run(update, params["online"], inner, batch, key)
        params, age, told = remembered(params, age, online)
        return params, (age, inner), batch, {**metrics, **told}

    def remembered(params: Params, age: jax.Array, online: Params):
        versions = with_newest(params["behaviour"], params["online"])
        metrics: Metrics = {"charts/policy_lag": age.astype(jnp.float32)}
        params = {**params, "online": online, "behaviour": versions}
        return params, jnp.minimum(age + 1, lag), metrics

    if not contribute:
        return Update(init, apply)
    assert update.parts is not None
    with_those, absorb_one = update.parts

    def contribute_with_those(params: Params, batch: Batch, key: Key):
        return with_those(that_act(params), batch, key)

    def absorb(params: Params, state: UpdateState, contribution: Any):
        age, inner = state
        online, inner, metrics = absorb_one(params["online"], inner, contribution)
        params, age, told = remembered(params, age, online)
        return params, (age, inner), {**metrics, **told}

    return in_parts(init, Parts(contribute_with_those, absorb))
