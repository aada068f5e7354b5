"""Linen modules: policies, values and action values on top of torsos.

Every module takes features [..., F] (or pixels [..., H, W, C]) with any leading axes.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from rljax import collectives
from rljax.networks.layers import SQRT2, Layer, dense
from rljax.types import Carry


class Outputs(nn.Module):
    """The last layer of a policy: `num_outputs` numbers that a `distributions.Head` reads."""

    num_outputs: int
    state_independent_std: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., F] to [..., num_outputs]."""
        if not self.state_independent_std:
            return dense(self.num_outputs, 0.01)(x)
        mean = dense(self.num_outputs // 2, 0.01)(x)
        log_std = self.param("log_std", nn.initializers.zeros, mean.shape[-1:])
        return jnp.concatenate([mean, jnp.broadcast_to(log_std, mean.shape)], axis=-1)


class PolicyModule(nn.Module):
    """A policy alone."""

    torso: Callable[[], nn.Module]
    outputs: Callable[[], Outputs]

    @nn.compact
    def __call__(self, x: jax.Array, carry: Carry) -> tuple[jax.Array, Carry]:
        """Features [..., F] to outputs [..., K]; the carry passes through."""
        return self.outputs()(self.torso()(x)), carry


class EmbeddingModule(nn.Module):
    """A torso and one more layer: features of features, learnt or random."""

    torso: Callable[[], nn.Module]
    size: int

    @nn.compact
    def __call__(self, x: jax.Array, beside: jax.Array | None = None) -> jax.Array:
        """Features [..., F], and [..., G] beside them if given, to [..., size]."""
        return dense(self.size, SQRT2)(self.torso()(x, beside))


class ActorCriticModule(nn.Module):
    """A policy and a value, each with a torso of its own or both on a shared one.

    They read the same features, or each its own of a pair.
    """

    torso: Callable[[], nn.Module]
    outputs: Callable[[], Outputs]
    shared: bool = False
    critic_torso: Callable[[], nn.Module] | None = None  # of the value; None for another `torso`

    @nn.compact
    def __call__(
        self, x: jax.Array | tuple[jax.Array, jax.Array], carry: Carry
    ) -> tuple[tuple[jax.Array, jax.Array], Carry]:
        """Features [..., F] to (outputs [..., K], value [...]); the carry passes through."""
        of_actor, of_critic = x if isinstance(x, tuple) else (x, x)
        actor = self.torso()(of_actor)
        critic = actor if self.shared else (self.critic_torso or self.torso)()(of_critic)
        value = dense(1, 1.0, name="value")(critic)
        return (self.outputs()(actor), value[..., 0]), carry


class RecurrentActorCriticModule(nn.Module):
    """A torso, a memory, and a policy and a value on what it remembers."""

    torso: Callable[[], nn.Module]
    outputs: Callable[[], Outputs]
    memory: Callable[[], nn.Module]  # of `networks.memory`

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: Carry, done: jax.Array | None = None
    ) -> tuple[tuple[jax.Array, jax.Array], Carry]:
        """Features [B, F], carry [B, H] to ((outputs [B, K], value [B]), carry).

        With done [L, B], of sequences: features [L, B, F] to what has [L, B, ...], the carry too.
        """
        x, carry = remembered(self, x, carry, done)
        return (self.outputs()(x), dense(1, 1.0, name="value")(x)[..., 0]), carry


def remembered(
    module: Any, x: jax.Array, carry: Carry, done: jax.Array | None
) -> tuple[jax.Array, Carry]:
    """What a module's torso and memory make of features [B, ...], or [L, B, ...] with done [L, B].

    Without a memory the carry passes through.
    """
    if module.memory is None:
        return module.torso()(x), carry
    leading = x.shape[: 1 if done is None else 2]
    x = module.torso()(x.reshape(-1, *x.shape[len(leading) :]))
    return module.memory()(x.reshape(*leading, -1), carry, done)


class ActionValues(nn.Module):
    """The last layer of a Q-network: M numbers for each of A actions.

    With `dueling` they are the sum of a value and of advantages whose mean over actions is 0, each
    a layer on the same features. A distribution is split in the same way, number by number, as in
    Rainbow.

    Source: Wang et al. 2016, eq. 9, https://arxiv.org/abs/1511.06581; Hessel et al. 2018, section
    "The Integrated Agent", https://arxiv.org/abs/1710.02298.
    """

    num_actions: int
    layer: Layer = dense
    dueling: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, num_outputs: int) -> jax.Array:
        """[..., F] to [..., A, num_outputs]."""
        leading = x.shape[:-1]
        advantage = self.layer(self.num_actions * num_outputs, 1.0)(x)
        advantage = advantage.reshape(*leading, self.num_actions, num_outputs)
        if not self.dueling:
            return advantage
        value = self.layer(num_outputs, 1.0, name="value")(x)[..., None, :]
        return value + advantage - jnp.mean(advantage, axis=-2, keepdims=True)


class QModule(nn.Module):
    """A torso, a memory if there is one, and action values on its features."""

    torso: Callable[[], nn.Module]
    outputs: Callable[[], ActionValues]
    shape: tuple[int, ...]  # of one action's numbers: () or [M]
    memory: Callable[[], nn.Module] | None = None  # of `networks.memory`

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: Carry, done: jax.Array | None = None
    ) -> tuple[jax.Array, Carry]:
        """Features [B, F], and a carry, to [B, A, *shape] and a carry.

        With done [L, B], of sequences: features [L, B, F] to values and carries [L, B, ...].
        """
        x, carry = remembered(self, x, carry, done)
        x = self.outputs()(x, math.prod(self.shape))
        return x.reshape(*x.shape[:-1], *self.shape), carry


class CriticModule(nn.Module):
    """A torso over features and an action, and the action's values; or without one, those of all.

    Features of pixels meet the action behind the convolutions.
    """

    torso: Callable[[], nn.Module]
    outputs: Callable[[], ActionValues]
    shape: tuple[int, ...]  # of one action's numbers: () or [M]

    @nn.compact
    def __call__(self, x: jax.Array, action: jax.Array | None = None) -> jax.Array:
        """Features [..., F] and an action [..., A], or None, to [..., K, *shape]."""
        x = self.outputs()(self.torso()(x, action), math.prod(self.shape))
        return x.reshape(*x.shape[:-1], *self.shape)


@struct.dataclass
class Quantiles:
    """Quantiles of returns, and which they are."""

    values: jax.Array  # [..., A, M] of all actions, or [..., M] of one
    tau: jax.Array  # [..., M], in [0, 1]


def midpoints(count: int) -> jax.Array:
    """The fractions whose quantiles stand best for a distribution: 1 / 2M, 3 / 2M, ... [M].

    Source: Dabney et al. 2018, lemma 2, https://arxiv.org/abs/1710.10044.
    """
    return (jnp.arange(count) + 0.5) / count


class ImplicitQModule(nn.Module):
    """A torso whose features are multiplied by those of a fraction, and that quantile's values.

    Fractions are uniform samples from the rng stream "noise", or without it the midpoints.

    Source: Dabney et al. 2018, eq. 4, https://arxiv.org/abs/1806.06923.
    """

    torso: Callable[[], nn.Module]
    outputs: Callable[[], ActionValues]
    num_samples: int
    layer: Layer = dense
    num_cosines: int = 64
    memory: Callable[[], nn.Module] | None = None  # of `networks.memory`

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: Carry, done: jax.Array | None = None
    ) -> tuple[Quantiles, Carry]:
        """Features [B, F], and a carry, to values [B, A, M] of quantiles tau [B, M] and a carry.

        With done [L, B], of sequences: features [L, B, F] to values and carries [L, B, ...].
        """
        x, carry = remembered(self, x, carry, done)
        shape = (*x.shape[:-1], self.num_samples)
        if self.has_rng("noise"):
            # Each observation has its own, also where a batch is split over devices.
            tau = jax.random.uniform(collectives.fold_in(self.make_rng("noise")), shape)
        else:
            tau = jnp.broadcast_to(midpoints(self.num_samples), shape)
        cosines = jnp.cos(jnp.pi * tau.reshape(-1, 1) * jnp.arange(self.num_cosines))
        embedding = nn.relu(self.layer(x.shape[-1], SQRT2, name="embedding")(cosines))
        rows = jnp.repeat(x.reshape(-1, x.shape[-1]), self.num_samples, axis=0) * embedding
        values = self.outputs()(rows, 1).reshape(*shape, -1)
        return Quantiles(jnp.swapaxes(values, -1, -2), tau), carry
