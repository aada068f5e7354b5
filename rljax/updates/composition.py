"""Updates in sequence."""

from collections.abc import Callable
from typing import Any

import jax

from rljax.types import Batch, Key, Metrics, MissingField, Params, Parts, Update, UpdateState


def chain(*parts: Update | None) -> Update:
    """Apply updates in order, each to the batch the one before it returned.

    Reads and writes whatever its members do; None is no member, for parts that are optional. A
    member that reads a field nobody wrote is an error that names both, when the agent is built.

    The chain is in parts if its last member is, and all others are `stateless`. Then its first part
    is all of them and the first part of the last.
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

    before, of_last = updates[:-1], updates[-1].parts if updates else None
    if of_last is None or any(update.init is not _nothing for update in before):
        return Update(init, apply)

    def contribute(params: Params, batch: Batch, key: Key):
        *keys, last_key = jax.random.split(key, len(updates))
        metrics: Metrics = {}
        for update, k in zip(before, keys, strict=True):
            _, _, batch, reported = run(update, params, (), batch, k)
            metrics.update(reported)
        contribution, batch, reported = of_last.contribute(params, batch, last_key)
        return contribution, batch, {**metrics, **reported}

    def absorb(params: Params, state: tuple[UpdateState, ...], contribution: Any):
        params, last_state, metrics = of_last.absorb(params, state[-1], contribution)
        return params, (*state[:-1], last_state), metrics

    return Update(init, apply, Parts(contribute, absorb))


def in_parts(init: Callable[[Params, Key], UpdateState], parts: Parts) -> Update:
    """The update whose `apply` is both parts, one after the other, with the same parameters."""

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        contribution, batch, metrics = parts.contribute(params, batch, key)
        params, state, reported = parts.absorb(params, state, contribution)
        return params, state, batch, {**metrics, **reported}

    # Errors name the function that made the parts.
    apply.__qualname__ = parts.contribute.__qualname__.replace(".contribute", ".apply")
    return Update(init, apply, parts)


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


def with_own_parameters(init: Callable[[Key], Params], update: Update) -> Update:
    """`update` of parameters of its own, instead of those of the agent.

    They begin as `init(key)` and are kept in the state, so an estimator can own a network that it
    trains itself, and stand in front of any agent. Reads and writes what `update` does.
    """

    def begin(params: Params, key: Key) -> UpdateState:
        key_own, key_update = jax.random.split(key)
        own = init(key_own)
        return own, update.init(own, key_update)

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        own, inner = state
        own, inner, batch, metrics = run(update, own, inner, batch, key)
        return params, (own, inner), batch, metrics

    return Update(begin, apply)


def stateless(apply) -> Update:
    """An update without a state, from `(params, batch, key) -> (batch, metrics)`."""

    def with_state(params: Params, state: UpdateState, batch: Batch, key: Key):
        batch, metrics = apply(params, batch, key)
        return params, state, batch, metrics

    with_state.__qualname__ = apply.__qualname__
    return Update(_nothing, with_state)


def _nothing(params: Params, key: Key) -> UpdateState:
    """The state of an update that keeps none; `chain` knows such updates by it."""
    return ()
