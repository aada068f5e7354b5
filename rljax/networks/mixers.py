"""Mixers: what the values of a team's agents are worth together."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rljax.envs.action_masks import observed
from rljax.envs.agents import check_state
from rljax.errors import UsageError, check_known
from rljax.networks.layers import dense
from rljax.networks.network import on_part, with_one_axis
from rljax.networks.q_networks import QNetwork
from rljax.types import Key, Obs, Params


class Mixer(NamedTuple):
    """A function with parameters, between the values of agents and the value of their team."""

    init: Callable[[Key], Params]
    apply: Callable[[Params, jax.Array, jax.Array | None], jax.Array]
    """(params, values [..., M], global state [..., G] or None) to one value [...]."""


MIXERS = ("none", "sum", "monotonic")


class MonotonicModule(nn.Module):
    """A network of two layers over values, whose weights, none negative, are made of the state.

    So the best actions of all are the best actions of each. At first it is near the sum of the
    values, and layers that make weights are normalised: large weights make values that are far too
    large, and learning unstable.

    Source: Rashid et al. 2018, section 4.1 and figure 2, https://arxiv.org/abs/1803.11485.
    """

    embedding: int = 32
    hidden: int = 64

    @nn.compact
    def __call__(self, values: jax.Array, state: jax.Array) -> jax.Array:
        """Values [..., M] and a global state [..., G] to one value [...]."""
        count = values.shape[-1]

        def of_state(name: str, size: int, sizes: tuple[int, ...] = ()) -> jax.Array:
            x = state
            for i, hidden in enumerate(sizes):
                x = dense(hidden, np.sqrt(2), name=f"{name}_{i}")(x)
                # So a state far from those seen has no far larger weights.
                x = nn.relu(nn.LayerNorm(name=f"{name}_norm_{i}")(x))
            return dense(size, 0.01, name=name)(x)

        def weights(name: str, size: int) -> jax.Array:
            return jnp.abs(of_state(name, size, (self.hidden,)) + self.embedding**-0.5)

        first = jnp.split(weights("first", count * self.embedding), count, axis=-1)
        # Added one by one: a sum over an axis of few is slow on a CPU.
        parts = [values[..., i, None] * each for i, each in enumerate(first)]
        inner = sum(parts, of_state("bias", self.embedding))
        second = weights("second", self.embedding)
        base = of_state("base", 1, (self.embedding,))[..., 0]
        return jnp.sum(nn.elu(inner) * second, axis=-1) + base


def total() -> Mixer:
    """The sum of the agents' values.

    Source: Sunehag et al. 2018, eq. 1, https://arxiv.org/abs/1706.05296.
    """
    return Mixer(lambda key: (), lambda params, values, state: jnp.sum(values, axis=-1))


def monotonic(num_agents: int, state_size: int, embedding: int = 32, hidden: int = 64) -> Mixer:
    """`MonotonicModule` as a mixer, for M agents and a global state [G]."""
    module = MonotonicModule(embedding, hidden)

    def init(key: Key) -> Params:
        return module.init(key, jnp.zeros(num_agents), jnp.zeros(state_size))

    def apply(params: Params, values: jax.Array, state: jax.Array | None) -> jax.Array:
        return with_one_axis(partial(module.apply, params), 1, values, state)

    return Mixer(init, apply)


def mixing(kind: str | Mixer, env: Any) -> Mixer:
    """The mixer of that name for the agents of an environment; a `Mixer` is returned as it is.

    Raises UsageError for a name that is not known, and for an environment without a global state
    where the mixer reads one.
    """
    if isinstance(kind, Mixer):
        return kind
    check_known("mixer", kind, MIXERS)
    if kind == "sum":
        return total()
    check_state(env, "a monotonic mixer")
    return monotonic(len(env.agents), *env.state_space.shape)


def with_mixer(q: QNetwork, mixer: Mixer, agent: str) -> QNetwork:
    """`q` of M agents, whose chosen values become one: `QNetwork.chosen` mixes them.

    Parameters are of two parts, "agents" and "mixer". The global state is the part "state" of
    observations, as `envs.teams.described` gives it, if there is one.

    Raises UsageError for values that are not plain numbers.
    """
    if q.head.shape:
        raise UsageError(f'{agent} mixes values, not distributions: use head "scalar"')

    def init(key: Key) -> Params:
        key_agents, key_mixer = jax.random.split(key)
        return {"agents": q.net.init(key_agents), "mixer": mixer.init(key_mixer)}

    def mix(params: Params, values: jax.Array, obs: Obs) -> jax.Array:
        parts = observed(obs)
        state = parts["state"][..., 0, :] if isinstance(parts, dict) and "state" in parts else None
        return mixer.apply(params["mixer"], values, state)

    return q._replace(net=on_part(q.net, "agents")._replace(init=init), mix=mix)
