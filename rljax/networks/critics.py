"""One critic: a network that reads what was observed and done."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax.networks.encoding import Reader
from rljax.networks.modules import ActionValues, CriticModule
from rljax.networks.network import Features, with_one_axis
from rljax.networks.value_heads import Estimate, ValueHead
from rljax.types import Key, Params

Critic = Callable[[Params, Features, jax.Array | None], Estimate]
"""(params, features, actions [..., A], those of a Box scaled to [-1, 1], or None for all of a
Discrete space) to what a `ValueHead` reads [..., K, *shape], of one critic."""


def one_critic(
    reader: Reader, torso: Callable[[], nn.Module], size: int, count: int, value: ValueHead
) -> tuple[Callable[[Key], Params], Critic, Callable]:
    """One critic: its fresh parameters, what it makes of features and actions, and that in a loss.

    Args:
        reader: of features; its kind may be a critic that is given.
        torso: of a critic that is not given.
        size: A, how many numbers an action has that it reads; 0 for none.
        count: K, how many actions it values at once.
        value: what its outputs stand for.
    """
    if isinstance(reader.kind, tuple):
        given_init, given_apply = reader.kind  # type: ignore[misc]

        def given(params: Params, features: Features, action: jax.Array | None) -> Estimate:
            return given_apply(params, reader.view(features), action)

        return given_init, given, lambda *inputs: (given(*inputs), {})
    module = reader.kind
    if not isinstance(module, nn.Module):
        module = CriticModule(torso, partial(ActionValues, count), value.shape)

    def init(key: Key) -> Params:
        action = jnp.zeros((1, size)) if size else None
        return module.init(key, jnp.zeros((1, *reader.shape)), action)

    def apply(params: Params, features: Features, action: jax.Array | None) -> Estimate:
        seen = reader.view(features)
        return with_one_axis(partial(module.apply, params), len(reader.shape), seen, action)

    def trained(params: Params, features: Features, action: jax.Array | None):
        moved = {}

        def function(*inputs):
            estimate, changed = module.apply(params, *inputs, mutable=["batch_statistics"])
            moved.update(changed)
            return estimate

        seen = reader.view(features)
        return with_one_axis(function, len(reader.shape), seen, action), moved

    return init, apply, trained
