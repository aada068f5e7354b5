"""A learnt model of an environment in which one can plan: it never says what will be observed."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax.envs import spaces
from rljax.envs.agents import check_groups
from rljax.errors import UsageError, check_positive
from rljax.networks.encoding import ACTIVATIONS, on_observations, read
from rljax.networks.layers import MLP, SQRT2, dense
from rljax.networks.modules import EmbeddingModule
from rljax.networks.network import Features, Network, Pair, from_linen, is_given, with_one_axis
from rljax.networks.value_heads import ValueHead
from rljax.types import Action, Environment, Key, Obs, Params

Outputs = Any  # of a number: what a `ValueHead` reads, [..., *head.shape]


class LatentModel(NamedTuple):
    """Representation, dynamics and prediction: parts of the parameters by these names."""

    init: Callable[[Key], Params]
    represent: Callable[[Params, Obs], jax.Array]
    """(params, observations [..., ...]) to states [..., S] of the model."""
    imagine: Callable[[Params, jax.Array, Action], tuple[jax.Array, Outputs]]
    """(params, states [..., S], actions [...]) to the states behind, and outputs for the reward."""
    predict: Callable[[Params, jax.Array], tuple[jax.Array, Outputs]]
    """(params, states [..., S]) to logits of a policy [..., A], and outputs for the value."""
    head: ValueHead
    """What outputs for rewards and values stand for."""
    encode: Callable[[Obs], Features]

    def value(self, params: Params, obs: Obs) -> jax.Array:
        """Values [...] of observations [..., ...], without a search."""
        return self.head.q(self.predict(params, self.represent(params, obs))[1])


def latent_model(
    env: Environment,
    kind: str | nn.Module | Pair = "auto",
    hidden: Sequence[int] = (64, 64),
    model_hidden: Sequence[int] = (64,),
    state_size: int = 64,
    activation: str = "relu",
    *,
    head: ValueHead,
    normalize_observations: bool = False,
    scale_images: bool = True,
    names: Sequence[str] | None = None,
    agent: str = "this agent",
) -> LatentModel:
    """The three networks of MuZero for an environment with Discrete actions.

    States of the model are scaled to [0, 1], each by its own least and largest number.

    Args:
        env: with a Discrete action space.
        kind: of the representation: "mlp", "cnn", "nature_cnn", "auto" (for three axes cnn, or
            nature_cnn where both sides are 36 or more; else mlp), a linen module `(features, carry)
            -> (states, carry)`, or a pair `(init, apply)` on float features, as the first two of a
            `Network`. The carry is ().
        hidden: sizes of its dense layers.
        model_hidden: sizes of the dense layers of dynamics, policy and value.
        state_size: S, of a representation that is named.
        activation: one of tanh, relu, elu, gelu, silu.
        head: what outputs for rewards and values stand for.
        normalize_observations: whether to put running statistics in front.
        scale_images: whether images (three axes of uint8) are divided by 255.
        names: of observations that are a Dict, the parts that are read; None for all.
        agent: who asks, for error messages.

    Raises UsageError for a space, kind, activation or size that does not fit, in one sentence.

    Source: Schrittwieser et al. 2020, section 3 and appendix G, https://arxiv.org/abs/1911.08265;
    dense layers behind the representation, in the place of residual blocks.
    """
    check_groups(env, None, agent)
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.shape:
        raise UsageError(
            f"{agent} needs a Discrete action space, not {spaces.describe(env.action_space)}"
        )
    if head.implicit:
        raise UsageError(f'{agent} has a head for each state, not for fractions: use "c51"')
    check_positive(state_size=state_size)
    for size in model_hidden:
        check_positive(model_hidden=size)
    reader = read(
        env.observation_space, kind, hidden, activation, agent, scale_images, names, "actor_obs"
    )
    if reader.memory:
        raise UsageError(
            f"{agent} plans from single observations, and network {kind!r} remembers others: use "
            "network 'mlp' or 'cnn'"
        )
    net = _representation(reader.kind, reader.shape, reader.torso, state_size, agent)
    representation = on_observations(reader, net, normalize_observations)

    def example() -> jax.Array:
        return net.apply(net.init(jax.random.key(0)), jnp.zeros((1, *reader.shape)), (), None)[0]

    state_size = jax.eval_shape(example).shape[-1]
    num_actions = env.action_space.n
    layers = partial(MLP, tuple(model_hidden), ACTIVATIONS[activation])
    dynamics = DynamicsModule(layers, state_size, head.shape)
    prediction = PredictionModule(layers, num_actions, head.shape)

    def init(key: Key) -> Params:
        keys = jax.random.split(key, 3)
        state, action = jnp.zeros((1, state_size)), jnp.zeros((1, num_actions))
        return {
            "representation": representation.init(keys[0]),
            "dynamics": dynamics.init(keys[1], state, action),
            "prediction": prediction.init(keys[2], state),
        }

    def represent(params: Params, obs: Obs) -> jax.Array:
        return representation.apply(params["representation"], obs, (), None)[0]

    def imagine(params: Params, state: jax.Array, action: Action):
        taken = jax.nn.one_hot(action, num_actions)
        return with_one_axis(partial(dynamics.apply, params["dynamics"]), 1, state, taken)

    def predict(params: Params, state: jax.Array):
        return with_one_axis(partial(prediction.apply, params["prediction"]), 1, state)

    return LatentModel(init, represent, imagine, predict, head, representation.encode)


def _representation(
    kind: Any, shape: tuple[int, ...], torso: Callable, size: int, agent: str
) -> Network:
    """The representation of that kind, with states scaled to [0, 1]."""
    if not is_given(kind):
        module = EmbeddingModule(torso, size)

        def apply(params: Params, features: jax.Array, carry: Any, key: Key | None):
            function = partial(module.apply, params)
            return with_one_axis(function, len(shape), features), carry

        net = Network(lambda key: module.init(key, jnp.zeros((1, *shape))), apply)
    else:
        net = from_linen(kind, shape) if isinstance(kind, nn.Module) else Network(*kind[:2])

    def scaled(params: Params, features: jax.Array, carry: Any, key: Key | None):
        state, carry = net.apply(params, features, carry, key)
        return to_unit_interval(state), carry

    return net._replace(apply=scaled)


def to_unit_interval(state: jax.Array) -> jax.Array:
    """States [..., S], each scaled to [0, 1] by its own least and largest number.

    Source: Schrittwieser et al. 2020, appendix G, https://arxiv.org/abs/1911.08265.
    """
    low, high = (f(state, axis=-1, keepdims=True) for f in (jnp.min, jnp.max))
    return (state - low) / jnp.maximum(high - low, 1e-5)


class DynamicsModule(nn.Module):
    """What a state and an action lead to."""

    layers: Callable[[], nn.Module]
    size: int
    shape: tuple[int, ...]  # of the outputs for a reward

    @nn.compact
    def __call__(self, state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """States [B, S] and actions [B, A], one-hot, to states [B, S] and outputs [B, *shape]."""
        x = self.layers()(state, action)
        reward = dense(math.prod(self.shape), 0.01, name="reward")(x)
        after = dense(self.size, SQRT2, name="state")(x)
        return to_unit_interval(after), reward.reshape(*x.shape[:-1], *self.shape)


class PredictionModule(nn.Module):
    """A policy and a value of a state, each with layers of its own."""

    layers: Callable[[], nn.Module]
    num_actions: int
    shape: tuple[int, ...]  # of the outputs for a value

    @nn.compact
    def __call__(self, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """States [B, S] to logits [B, A] and outputs [B, *shape]."""
        logits = dense(self.num_actions, 0.01, name="policy")(self.layers()(state))
        value = dense(math.prod(self.shape), 0.01, name="value")(self.layers()(state))
        return logits, value.reshape(*state.shape[:-1], *self.shape)
