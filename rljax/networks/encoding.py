"""How observations become features, and the torso that reads them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax.envs import spaces
from rljax.envs.action_masks import observed
from rljax.errors import UsageError, check_known, check_positive
from rljax.networks.memory import MEMORIES
from rljax.networks.modules import CNN, MLP, NatureCNN
from rljax.networks.network import Network, Pair, encoded, is_given
from rljax.networks.normalization import normalized
from rljax.types import Obs

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}
NETWORKS = ("auto", "mlp", "cnn", "nature_cnn", *MEMORIES)
SMALLEST_SIDES = {"cnn": 3, "nature_cnn": 36}
"""Of an image, for its convolutions."""
ONE_PART = "; let the environment give one part, as those of MuJoCo Playground do with part='state'"
TORSOS: dict[object, type[nn.Module]] = {"cnn": CNN, "nature_cnn": NatureCNN}


def encoder(
    space: spaces.Space, kind: object, agent: str, scale_images: bool = True
) -> Callable[[Obs], jax.Array]:
    """How an observation becomes float features: one-hot, flattened, or left as pixels.

    With `scale_images`, images (three axes of uint8) are divided by 255. A mask of actions is no
    feature.

    Raises UsageError for spaces that no network here can read, naming the agent and the space.
    """
    if isinstance(kind, str) and kind in SMALLEST_SIDES:
        least, other = SMALLEST_SIDES[kind], "mlp" if _side(space) < 3 else "cnn"
        if _side(space) < least:
            raise UsageError(
                f"network {kind!r} needs observations of height, width ({least} or more) and "
                f"channels, not {spaces.describe(space)}; use {other!r}"
            )
    if isinstance(space, spaces.Discrete):
        return lambda obs: jax.nn.one_hot(observed(obs), space.n)
    if not isinstance(space, spaces.Box) or len(space.shape) > 3:
        raise UsageError(
            f"{agent} cannot use observations of {spaces.describe(space)}: "
            "it reads a Discrete space or a Box of at most three axes"
            f"{ONE_PART if isinstance(space, spaces.Dict) else ''}"
        )
    rank = len(space.shape)
    is_image = rank == 3 and space.dtype == jnp.uint8
    largest = 255.0 if is_image and scale_images else 1.0
    is_flat = kind in ("mlp", *MEMORIES)

    def features(obs: Obs) -> jax.Array:
        x = jnp.asarray(observed(obs), jnp.float32) / largest
        return x.reshape(*x.shape[: x.ndim - rank], -1) if is_flat else x

    return features


def _side(space: spaces.Space) -> int:
    """The shorter side of an image; 0 for what is none."""
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return 0
    return min(space.shape[:2])


class Reader(NamedTuple):
    """What the networks on one space have in common."""

    kind: str | nn.Module | Network | Pair  # "auto" decided
    encode: Callable[[Obs], jax.Array]  # observations to float features
    shape: tuple[int, ...]  # of one observation's features
    torso: Callable[..., nn.Module]  # an MLP or a CNN; takes their further fields
    memory: Callable[[], Any] | None  # a layer of `networks.memory` behind it


def read(
    space: spaces.Space,
    kind: str | nn.Module | Network | Pair,
    hidden: Sequence[int],
    activation: str,
    agent: str,
    scale_images: bool = True,
) -> Reader:
    """The part of a network that depends on the observations; see `actor_critic` for the arguments.

    Raises UsageError for a space, kind or activation that does not fit, in one sentence.
    """
    if not is_given(kind):
        check_known("network", kind, NETWORKS)
    check_known("activation", activation, ACTIVATIONS)
    for size in hidden:
        check_positive(hidden=size)
    if kind == "auto":
        pixels = isinstance(space, spaces.Box) and len(space.shape) == 3
        large = _side(space) >= SMALLEST_SIDES["nature_cnn"]
        kind = "nature_cnn" if large else "cnn" if pixels else "mlp"
    encode = encoder(space, kind, agent, scale_images)
    assert not isinstance(space, spaces.Dict), "encoder refuses these"
    shape = jax.eval_shape(encode, jax.ShapeDtypeStruct(space.shape, space.dtype)).shape
    module = TORSOS.get(kind, MLP) if isinstance(kind, str) else MLP
    torso = partial(module, tuple(hidden), ACTIVATIONS[activation])
    memory = None
    if isinstance(kind, str) and kind in MEMORIES:
        if not hidden:
            raise UsageError(
                f"network {kind!r} needs at least one size in hidden: the last is its carry's"
            )
        memory = partial(MEMORIES[kind], hidden[-1])
    return Reader(kind, encode, shape, torso, memory)


def refuse_memory(kind: object, agent: str, instead: str) -> None:
    """Refuse a network with memory, for an agent that learns from single steps."""
    if isinstance(kind, str) and kind in MEMORIES:
        raise UsageError(
            f"{agent} learns from single steps, and network {kind!r} from sequences: use "
            f"network 'mlp' or 'cnn', or {instead}"
        )


def on_observations(reader: Reader, inner: Network, normalize: bool) -> Network:
    """`inner`, which takes features, on the observations they are made of."""
    return encoded(normalized(inner, reader.shape) if normalize else inner, reader.encode)
