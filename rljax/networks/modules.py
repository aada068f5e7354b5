"""Linen modules: torsos, and the actor-critics and action values on top of them.

Every module takes features [..., F] (or pixels [..., H, W, C]) with any leading axes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from rljax import collectives
from rljax._cpu import product
from rljax.networks.initializers import orthogonal
from rljax.types import Carry

SQRT2 = 2**0.5

Activation = Callable[[jax.Array], jax.Array]
Layer = Callable[..., nn.Module]  # (features, scale, name=None), as `dense` is


def dense(features: int, scale: float, name: str | None = None) -> nn.Dense:
    """A dense layer with orthogonal weights."""
    return nn.Dense(
        features,
        kernel_init=orthogonal(scale),
        dot_general=lambda x, w, *_, **__: product(x, w),
        name=name,
    )


class NoisyDense(nn.Module):
    """A dense layer whose weights are Gaussian, with noise factorised over inputs and outputs.

    One sample from the rng stream "noise" serves a whole batch; without that stream the weights are
    their means. The means start orthogonal, like those of `dense`, where the paper's are uniform.

    Source: Fortunato et al. 2018, eq. 9 to 11, section 3.2, https://arxiv.org/abs/1706.10295.
    """

    features: int
    scale: float
    sigma0: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., F] to [..., features]."""
        size, shape = x.shape[-1], (x.shape[-1], self.features)
        spread = nn.initializers.constant(self.sigma0 * size**-0.5)
        kernel = self.param("kernel", orthogonal(self.scale), shape)
        kernel_sigma = self.param("kernel_sigma", spread, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[1:])
        bias_sigma = self.param("bias_sigma", spread, shape[1:])
        if self.has_rng("noise"):
            noise = jax.random.normal(self.make_rng("noise"), (sum(shape),))
            noise = jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
            kernel += kernel_sigma * noise[:size, None] * noise[size:]
            bias += bias_sigma * noise[size:]
        return product(x, kernel) + bias


def joined(x: jax.Array, beside: jax.Array | None) -> jax.Array:
    """Features [..., F] with others [..., G] behind them; themselves where there are none."""
    return x if beside is None else jnp.concatenate([x, beside], axis=-1)


class BatchRenorm(nn.Module):
    """Features of mean 0 and variance 1 over a batch, times a scale plus a bias that are learnt.

    Where the collection "batch_stats" is mutable, as in a loss, a batch is normalised by its own
    statistics, those of all devices, and the running ones move. After `warmup` batches, what the
    two differ by is corrected, within bounds. Elsewhere the running ones normalise.

    Source: Ioffe 2017, algorithm 1, https://arxiv.org/abs/1702.03275; the warm-up and the bounds (3
    and 5) are those of Bhatt et al. 2024, https://arxiv.org/abs/1902.05605.
    """

    momentum: float = 0.99
    epsilon: float = 1e-3
    warmup: int = 100_000

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., F] to [..., F]; the statistics are over all leading axes."""
        shape = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_variance = self.variable("batch_stats", "variance", jnp.ones, shape)
        count = self.variable("batch_stats", "count", jnp.zeros, ())
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean, variance = running_mean.value, running_variance.value
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            axes = tuple(range(x.ndim - 1))
            of_batch = collectives.pmean(jnp.mean(x, axes))
            spread = collectives.pmean(jnp.mean(jnp.square(x - of_batch), axes))
            factor = jnp.sqrt((spread + self.epsilon) / (variance + self.epsilon))
            shift = (of_batch - mean) * jax.lax.rsqrt(variance + self.epsilon)
            warm = count.value >= self.warmup
            factor, shift = jax.lax.stop_gradient(
                (
                    jnp.where(warm, jnp.clip(factor, 1 / 3, 3.0), 1.0),
                    jnp.where(warm, jnp.clip(shift, -5.0, 5.0), 0.0),
                )
            )
            x = (x - of_batch) * jax.lax.rsqrt(spread + self.epsilon) * factor + shift
            running_mean.value = mean + (1 - self.momentum) * (of_batch - mean)
            running_variance.value = variance + (1 - self.momentum) * (spread - variance)
            count.value = count.value + 1
        else:
            x = (x - mean) * jax.lax.rsqrt(variance + self.epsilon)
        return x * scale + bias


class MLP(nn.Module):
    """Fully connected layers over the flattened observation, and over what stands beside it."""

    hidden: Sequence[int]
    activation: Activation
    layer: Layer = dense
    layer_norm: bool = False  # between each layer and its activation
    batch_norm: bool = False  # in front of the first layer, and behind each activation

    @nn.compact
    def __call__(self, x: jax.Array, beside: jax.Array | None = None) -> jax.Array:
        """[..., F], and [..., G] if given, to [..., hidden[-1]]."""
        x = joined(x, beside)
        x = BatchRenorm()(x) if self.batch_norm else x
        for size in self.hidden:
            x = self.layer(size, SQRT2)(x)
            x = self.activation(nn.LayerNorm()(x) if self.layer_norm else x)
            x = BatchRenorm()(x) if self.batch_norm else x
        return x


class Convolution(nn.Module):
    """A convolution without padding, as one matrix product over patches.

    The same numbers as `nn.Conv`; on a CPU, XLA's own convolution trains up to seven times slower.
    """

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., H, W, C] to [..., (H - size) // stride + 1, (W - size) // stride + 1, features]."""
        rows, columns = (
            [slice(i, length - self.size + i + 1, self.stride) for i in range(self.size)]
            for length in x.shape[-3:-1]
        )
        patches = [x[..., row, column, :] for row in rows for column in columns]
        return dense(self.features, SQRT2)(jnp.concatenate(patches, axis=-1))


class CNN(nn.Module):
    """One 3x3 convolution of 16 channels, then an MLP: the network of MinAtar.

    Source: Young and Tian 2019, section 4, https://arxiv.org/abs/1903.03176.
    """

    hidden: Sequence[int]
    activation: Activation
    layer: Layer = dense  # after the convolution
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, beside: jax.Array | None = None) -> jax.Array:
        """[..., H, W, C], and [..., G] for the MLP if given, to [..., hidden[-1]]."""
        return _convolved(self, [Convolution(16, 3, name="Conv3x3_0")], x, beside)


class NatureCNN(nn.Module):
    """Three convolutions, then an MLP: the network of DQN on the frames of Atari.

    Source: Mnih et al. 2015, methods, https://www.nature.com/articles/nature14236; there, the MLP
    is one layer of 512, and the activation ReLU.
    """

    hidden: Sequence[int]
    activation: Activation
    layer: Layer = dense  # after the convolutions
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, beside: jax.Array | None = None) -> jax.Array:
        """[..., H, W, C], H and W 36 or more, and [..., G] for the MLP if given.

        Returns [..., hidden[-1]].
        """
        sizes = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
        return _convolved(self, [Convolution(*each) for each in sizes], x, beside)


def _convolved(
    module: CNN | NatureCNN,
    convolutions: Sequence[Convolution],
    x: jax.Array,
    beside: jax.Array | None,
) -> jax.Array:
    """What a module makes of pixels [..., H, W, C]: convolutions, then an MLP, all its own."""
    for convolution in convolutions:
        x = convolution(x)
        x = module.activation(nn.LayerNorm()(x) if module.layer_norm else x)
    x = x.reshape(*x.shape[:-3], -1)
    return MLP(module.hidden, module.activation, module.layer, module.layer_norm)(x, beside)


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

    Dueling, they are the sum of a value and of advantages whose mean over actions is 0, each a
    layer on the same features; so are the numbers of a distribution, one by one, as in Rainbow.

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
