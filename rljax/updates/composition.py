"""Updates in sequence."""

import jax

from rljax.types import Batch, Key, MissingField, Params, Update, UpdateState


def chain(*parts: Update | None) -> Update:
    """Apply updates in order, each to the batch the one before it returned.

    Reads and writes whatever its members do; None is no member, for parts that are optional. A
    member that reads a field nobody wrote is an error that names both, when the agent is built.
    """
    updates = [update for update in parts if update is not None]

    def init(params: Params, key: Key) -> tuple[UpdateState, ...]:
        keys = jax.random.split(key, len(updates))
        return tuple(update.init(params, k) for update, k in zip(updates, keys, strict=True))

    def apply(params: Params, state: tuple[UpdateState, ...], batch: Batch, key: Key):
        keys = jax.random.split(key, len(updates))
        states, metrics = [], {}
        for update, update_state, k in zip(updates, state, keys, strict=True):
            params, update_state, batch, reported = run(update, params, update_state, batch, k)
            states.append(update_state)
            metrics.update(reported)
        return params, tuple(states), batch, metrics

    return Update(init, apply)


def run(update: Update, params: Params, state: UpdateState, batch: Batch, key: Key):
    """Apply an update; if it reads a field nobody wrote, the error names it, innermost first."""
    try:
        return update.apply(params, state, batch, key)
    except MissingField as error:
        # `gae.<locals>.apply` is how Python names the apply of an update made by gae(...).
        *makers, name = update.apply.__qualname__.replace("<locals>.", "").split(".")
        name = makers[-1] if makers and name == "apply" else name
        message = str(error)
        raise MissingField(
            message if message.startswith("update ") else f"update {name} {message}"
        ) from None


def stateless(apply) -> Update:
    """An update without a state, from `(params, batch, key) -> (batch, metrics)`."""

    def with_state(params: Params, state: UpdateState, batch: Batch, key: Key):
        batch, metrics = apply(params, batch, key)
        return params, state, batch, metrics

    with_state.__qualname__ = apply.__qualname__
    return Update(lambda params, key: (), with_state)
