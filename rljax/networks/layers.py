"""Layers, and the torsos that are made of them."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax import collectives
from rljax._cpu import in_pieces, product
from rljax.networks.initializers import orthogonal

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

    Where the collection "batch_statistics" is mutable, as in a loss, a batch is normalised by its
    own statistics, those of all devices, and the running ones move. After `warmup` batches, what
    the two differ by is corrected, within bounds. Elsewhere the running ones normalise.

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
        running_mean = self.variable("batch_statistics", "mean", jnp.zeros, shape)
        running_variance = self.variable("batch_statistics", "variance", jnp.ones, shape)
        count = self.variable("batch_statistics", "count", jnp.zeros, ())
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean, variance = running_mean.value, running_variance.value
        if self.is_mutable_collection("batch_statistics") and not self.is_initializing():
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
        *batch, height, width, channels = x.shape
        inputs = self.size**2 * channels
        kernel, bias = Weights(inputs, self.features, name="Dense_0")()
        rows = (height - self.size) // self.stride + 1
        columns = (width - self.size) // self.stride + 1

        def convolved(x: jax.Array) -> jax.Array:
            return product(patches(x, self.size, self.stride), kernel) + bias

        made = in_pieces(convolved, x.reshape(-1, *x.shape[-3:]), rows * columns * inputs)
        return made.reshape(*batch, rows, columns, self.features)


class Weights(nn.Module):
    """The parameters of `dense`, for a product that is taken elsewhere."""

    inputs: int
    features: int

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """The kernel [inputs, features] and the bias [features]."""
        kernel = self.param("kernel", orthogonal(SQRT2), (self.inputs, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))


def patches(x: jax.Array, size: int, stride: int) -> jax.Array:
    """What each place of a filter sees, of pixels [..., H, W, C]: [..., H', W', size * size * C].

    Pixels of a row that the filter never parts are moved together.
    """
    *batch, height, width, channels = x.shape
    together = stride if size % stride == 0 else 1
    width -= width % together
    x = x[..., :width, :].reshape(*batch, height, width // together, together * channels)
    rows, columns = (
        [slice(i, length - filter_size + i + 1, step) for i in range(filter_size)]
        for length, filter_size, step in (
            (height, size, stride),
            (width // together, size // together, stride // together),
        )
    )
    return jnp.concatenate([x[..., row, column, :] for row in rows for column in columns], axis=-1)


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
