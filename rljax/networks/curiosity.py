"""What curiosity knows of an environment: networks that predict, and numbers of states."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rljax.envs import spaces
from rljax.envs.action_masks import observed
from rljax.networks.encoding import ACTIVATIONS, read
from rljax.networks.layers import MLP
from rljax.networks.modules import EmbeddingModule
from rljax.networks.network import Features, Network, with_one_axis
from rljax.networks.normalization import fresh_statistics, standardized
from rljax.types import Action, Batch, Key, Obs, Params

HASH_BITS = 16  # of the number of an observation that is not Discrete


class RandomDistillation(NamedTuple):
    """A network with random weights that stay, and one that learns to predict its outputs.

    Parameters are "fixed", "predictor" and "statistics" of the features that both read.
    """

    init: Callable[[Key], Params]
    target: Callable[[Params, Obs], jax.Array]
    """(params, observations [..., ...]) to the outputs [..., size] that are predicted."""
    error: Callable[[Params, Obs, jax.Array], jax.Array]
    """(params, observations, those outputs) to mean squared errors of the prediction [...]."""
    encode: Callable[[Obs], Features]


def random_distillation(
    space: spaces.Space,
    kind: str = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    size: int = 64,
    agent: str = "rnd",
) -> RandomDistillation:
    """The networks of RND for a space of observations, with outputs [..., size].

    The predictor has one layer more, so that it can be what the other is. `kind`, `hidden` and
    `activation` are as for `actor_critic_network`; raises UsageError as that does.

    Source: Burda et al. 2019, section 2.2, https://arxiv.org/abs/1810.12894.
    """
    reader = read(space, kind, hidden, activation, agent)
    deeper = read(space, kind, (*hidden, hidden[-1]), activation, agent)
    fixed, predictor = (EmbeddingModule(r.torso, size) for r in (reader, deeper))

    def init(key: Key) -> Params:
        key_fixed, key_predictor = jax.random.split(key)
        example = jnp.zeros((1, *reader.shape))
        return {
            "fixed": fixed.init(key_fixed, example),
            "predictor": predictor.init(key_predictor, example),
            "statistics": fresh_statistics(reader.features),
        }

    def of(module: nn.Module, part: str, params: Params, obs: Obs) -> jax.Array:
        features = reader.view(standardized(params["statistics"], reader.encode(obs)))
        return with_one_axis(partial(module.apply, params[part]), len(reader.shape), features)

    def target(params: Params, obs: Obs) -> jax.Array:
        return of(fixed, "fixed", params, obs)

    def error(params: Params, obs: Obs, target: jax.Array) -> jax.Array:
        prediction = of(predictor, "predictor", params, obs)
        return jnp.mean(jnp.square(prediction - target), axis=-1)

    return RandomDistillation(init, target, error, reader.encode)


class Dynamics(NamedTuple):
    """Features that tell which action was taken, and a model that predicts them."""

    init: Callable[[Key], Params]
    errors: Callable[[Params, Batch], tuple[jax.Array, jax.Array]]
    """(params, batch [T, N]) to the errors [T, N] of the forward and of the inverse model."""


def dynamics(
    space: spaces.Space,
    action_space: spaces.Space,
    kind: str = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    size: int = 64,
    agent: str = "icm",
) -> Dynamics:
    """The three networks of ICM: features [..., size] of observations, and two models of them.

    The forward model predicts the features of what a step led to, from those before it and the
    action; its error is half a squared distance. The inverse model predicts the action from both;
    its error is -log p(action) of Discrete ones, else half a squared distance. `kind`, `hidden` and
    `activation` are as for `actor_critic_network`; raises UsageError as that does.

    Source: Pathak et al. 2017, section 2, https://arxiv.org/abs/1705.05363.
    """
    reader = read(space, kind, hidden, activation, agent)
    discrete = isinstance(action_space, spaces.Discrete)
    num_outputs = action_space.n if discrete else int(np.prod(action_space.shape))  # type: ignore[union-attr]
    model = partial(MLP, (hidden[-1],), ACTIVATIONS[activation])
    features = EmbeddingModule(reader.torso, size)
    forward, inverse = EmbeddingModule(model, size), EmbeddingModule(model, num_outputs)

    def init(key: Key) -> Params:
        keys, one = jax.random.split(key, 3), jnp.zeros((1, size))
        return {
            "features": features.init(keys[0], jnp.zeros((1, *reader.shape))),
            "forward": forward.init(keys[1], one, jnp.zeros((1, num_outputs))),
            "inverse": inverse.init(keys[2], one, one),
        }

    def numbers(action: Action) -> jax.Array:
        return jax.nn.one_hot(action, num_outputs) if discrete else action

    def errors(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        before, after = (
            with_one_axis(
                partial(features.apply, params["features"]),
                len(reader.shape),
                reader.view(reader.encode(obs)),
            )
            for obs in (batch.obs, batch.next_obs)
        )
        taken = numbers(batch.action)
        predicted = with_one_axis(partial(forward.apply, params["forward"]), 1, before, taken)
        guessed = with_one_axis(partial(inverse.apply, params["inverse"]), 1, before, after)
        of_forward = 0.5 * jnp.sum(jnp.square(predicted - after), axis=-1)
        if discrete:
            return of_forward, -jnp.sum(taken * jax.nn.log_softmax(guessed), axis=-1)
        return of_forward, 0.5 * jnp.sum(jnp.square(guessed - taken), axis=-1)

    return Dynamics(init, errors)


def value_network(
    space: spaces.Space,
    kind: str = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    agent: str = "curiosity",
) -> Network:
    """A value [...] of observations, without a policy beside it and without a carry."""
    reader = read(space, kind, hidden, activation, agent)
    module = EmbeddingModule(reader.torso, 1)

    def apply(params: Params, obs: Obs, carry, key: Key | None):
        function = partial(module.apply, params)
        features = reader.view(reader.encode(obs))
        return with_one_axis(function, len(reader.shape), features)[..., 0], carry

    return Network(lambda key: module.init(key, jnp.zeros((1, *reader.shape))), apply)


class Numbered(NamedTuple):
    """Observations by number."""

    number: Callable[[Obs], jax.Array]
    """Observations [..., ...] to int32 [...], from 0 to size - 1."""
    size: int


def numbered(space: spaces.Space, agent: str = "counts") -> Numbered:
    """The numbers of a space's observations: those of a Discrete space, else hashes.

    A hash is the signs of 16 random projections (SimHash), so what is alike may share a number.

    Source: Tang et al. 2017, eq. 2, https://arxiv.org/abs/1611.04717.
    """
    if isinstance(space, spaces.Discrete):
        return Numbered(observed, space.n)
    reader = read(space, "mlp", (), "relu", agent)
    # The same for all seeds: it is no part of what is learnt.
    projection = jax.random.normal(jax.random.key(0), (*reader.shape, HASH_BITS))

    def number(obs: Obs) -> jax.Array:
        bits = reader.view(reader.encode(obs)) @ projection > 0
        return jnp.sum(bits << jnp.arange(HASH_BITS), axis=-1, dtype=jnp.int32)

    return Numbered(number, 2**HASH_BITS)
