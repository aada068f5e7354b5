"""Linen modules: torsos, and the actor-critic heads on top of them.

Every module takes features [..., F] (or pixels [..., H, W, C]) with any leading axes.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax.networks.initializers import orthogonal
from rljax.networks.product import product
from rljax.types import Carry

SQRT2 = 2**0.5

Activation = Callable[[jax.Array], jax.Array]


def dense(features: int, scale: float, name: str | None = None) -> nn.Dense:
    """A dense layer with orthogonal weights."""
    return nn.Dense(
        features,
        kernel_init=orthogonal(scale),
        dot_general=lambda x, w, *_, **__: product(x, w),
        name=name,
    )


class MLP(nn.Module):
    """Fully connected layers over the flattened observation."""

    hidden: Sequence[int]
    activation: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., F] to [..., hidden[-1]]."""
        for size in self.hidden:
            x = self.activation(dense(size, SQRT2)(x))
        return x


class Conv3x3(nn.Module):
    """A 3x3 convolution without padding, as one matrix product over patches.

    The same numbers as `nn.Conv`; on a CPU, XLA's own convolution trains seven times slower.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., H, W, C] to [..., H - 2, W - 2, features]."""
        height, width = x.shape[-3] - 2, x.shape[-2] - 2
        shifts = [x[..., i : i + height, j : j + width, :] for i in range(3) for j in range(3)]
        return dense(self.features, SQRT2)(jnp.concatenate(shifts, axis=-1))


class CNN(nn.Module):
    """One 3x3 convolution of 16 channels, then an MLP: the network of MinAtar.

    Source: Young and Tian 2019, section 4, https://arxiv.org/abs/1903.03176.
    """

    hidden: Sequence[int]
    activation: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., H, W, C] to [..., hidden[-1]]."""
        x = Conv3x3(16)(x)
        x = self.activation(x).reshape(*x.shape[:-3], -1)
        return MLP(self.hidden, self.activation)(x)


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


class ActorCriticModule(nn.Module):
    """A policy and a value, each with a torso of its own or both on a shared one."""

    torso: Callable[[], nn.Module]
    outputs: Callable[[], Outputs]
    shared: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, carry: Carry) -> tuple[tuple[jax.Array, jax.Array], Carry]:
        """Features [..., F] to (outputs [..., K], value [...]); the carry passes through."""
        actor = self.torso()(x)
        critic = actor if self.shared else self.torso()(x)
        value = dense(1, 1.0, name="value")(critic)
        return (self.outputs()(actor), value[..., 0]), carry


class RecurrentActorCriticModule(nn.Module):
    """A torso, a GRU that remembers, and a policy and a value on what it remembers.

    Source: Cho et al. 2014, https://arxiv.org/abs/1406.1078.
    """

    torso: Callable[[], nn.Module]
    outputs: Callable[[], Outputs]
    memory: int

    @nn.compact
    def __call__(self, x: jax.Array, carry: Carry) -> tuple[tuple[jax.Array, jax.Array], Carry]:
        """Features [..., F] and carry [..., memory] to ((outputs [..., K], value [...]), carry)."""
        cell = nn.GRUCell(
            self.memory, kernel_init=orthogonal(1.0), recurrent_kernel_init=orthogonal(1.0)
        )
        carry, x = cell(carry, self.torso()(x))
        return (self.outputs()(x), dense(1, 1.0, name="value")(x)[..., 0]), carry
