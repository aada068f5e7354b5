"""Earlier versions of the parameters, for who plays against them."""

import jax
import jax.numpy as jnp

from rljax.actors.versions import with_newest
from rljax.types import Batch, Key, Params, Update, UpdateState
from rljax.updates.composition import run


def keep_versions(update: Update, part: str, period: int) -> Update:
    """Wrap `update` so that it learns the part "online", and earlier versions are kept in `part`.

    For the parameters of `actors.with_versions`. After each `period` applications, what has been
    learnt becomes the newest version, and the oldest is dropped. `update` is given the part
    "online" alone, so it can be the update of any agent.
    """

    def init(params: Params, key: Key) -> UpdateState:
        return jnp.int32(0), update.init(params["online"], key)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        applied, inner = state
        online, inner, batch, metrics = run(update, params["online"], inner, batch, key)
        applied = (applied + 1) % period
        versions = jax.tree.map(
            lambda kept, moved: jnp.where(applied == 0, moved, kept),
            params[part],
            with_newest(params[part], online),
        )
        return {"online": online, part: versions}, (applied, inner), batch, metrics

    return Update(init, apply)
