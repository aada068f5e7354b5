"""How observations become features, and the torso that reads them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rljax.envs import spaces
from rljax.envs.action_masks import observed
from rljax.envs.simulators import zeros
from rljax.errors import UsageError, check_known, check_positive
from rljax.networks.layers import CNN, MLP, NatureCNN
from rljax.networks.memory import MEMORIES
from rljax.networks.network import Features, Network, Pair, encoded, is_given, viewed
from rljax.networks.normalization import normalized
from rljax.types import Action, Obs

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
TORSOS: dict[object, type[nn.Module]] = {"cnn": CNN, "nature_cnn": NatureCNN}


def encoder(
    space: spaces.Space, agent: str, scale_images: bool = True
) -> Callable[[Obs], Features]:
    """How an observation becomes float features: one-hot, or the numbers that it has.

    Of a Dict they are a dict, of those parts that an observation has: so a policy that reads some
    of them needs no others. With `scale_images`, images (three axes of uint8) are divided by 255. A
    mask of actions is no feature.

    Raises UsageError for spaces that no network here can read, naming the agent and the space.
    """
    features = _features(space, agent, scale_images)
    return lambda obs: features(observed(obs))


def _features(space: spaces.Space, agent: str, scale_images: bool) -> Callable[[Obs], Features]:
    if isinstance(space, spaces.Dict):
        parts = {name: _features(part, agent, scale_images) for name, part in space.spaces.items()}
        return lambda obs: {name: parts[name](part) for name, part in obs.items()}
    if isinstance(space, spaces.Discrete):
        return lambda obs: jax.nn.one_hot(obs, space.n)
    if not isinstance(space, spaces.Box) or len(space.shape) > 3:
        raise UsageError(
            f"{agent} cannot use observations of {spaces.describe(space)}: "
            "it reads a Discrete space, a Box of at most three axes, or a Dict of these"
        )
    is_image = len(space.shape) == 3 and space.dtype == jnp.uint8
    largest = 255.0 if is_image and scale_images else 1.0
    return lambda obs: jnp.asarray(obs, jnp.float32) / largest


def _part(
    space: spaces.Space, names: Sequence[str] | None, setting: str, agent: str
) -> tuple[spaces.Space, Callable[[Features], Any]]:
    """The space that a network reads, and how to get it from features, arrays in a tuple.

    It is all of a space, or these parts of a Dict.
    """
    if not isinstance(space, spaces.Dict):
        if names is not None:
            raise UsageError(
                f"{agent} observes {spaces.describe(space)}, which has no parts to choose from: "
                f"leave out {setting}"
            )
        return space, lambda features: features
    names = sorted(space.spaces) if names is None else names
    if not names:
        raise UsageError(f"{setting} of {agent} is empty: name one of {', '.join(space.spaces)}")
    for name in names:
        check_known(setting, name, space.spaces)
    if len(names) == 1:
        return space.spaces[names[0]], lambda features: features[names[0]]
    chosen = spaces.Dict({name: space.spaces[name] for name in names})
    return chosen, lambda features: tuple(features[name] for name in names)


def _side(shapes: Sequence[tuple[int, ...]]) -> int:
    """The shorter side of an image, if that is all there is; else 0."""
    return min(shapes[0][:2]) if len(shapes) == 1 and len(shapes[0]) == 3 else 0


def read_action(space: spaces.Discrete | spaces.Box, action: Action) -> jax.Array:
    """Actions as networks read them [..., A]: scaled to [-1, 1], of a Discrete space one-hot.

    Those of a Discrete space that are vectors already, of a relaxed policy, stay as they are.
    """
    if isinstance(space, spaces.Discrete):
        number = jnp.issubdtype(action.dtype, jnp.integer)
        return jax.nn.one_hot(action, space.n) if number else action
    half_range = np.where(space.half_range > 0, space.half_range, 1.0)
    return (action - space.middle) / half_range


class Reader(NamedTuple):
    """What the networks that read the same of a space have in common."""

    kind: str | nn.Module | Network | Pair  # "auto" decided
    encode: Callable[[Obs], Features]  # observations to float features
    features: Any  # the shapes of one observation's features
    view: Callable[[Features], jax.Array]  # of features, what these networks read
    shape: tuple[int, ...]  # of one observation's view
    torso: Callable[..., nn.Module]  # an MLP or a CNN; takes their further fields
    memory: Callable[[], Any] | None  # a layer of `networks.memory` behind it


def read(
    space: spaces.Space,
    kind: str | nn.Module | Network | Pair,
    hidden: Sequence[int],
    activation: str,
    agent: str,
    scale_images: bool = True,
    names: Sequence[str] | None = None,
    setting: str = "names",
) -> Reader:
    """The part of a network that depends on the observations; see `actor_critic` for the arguments.

    Args:
        names: of a Dict, the parts to read, in this order; None for all, in the order of names. One
            part is read in its own shape. Several are flattened and joined.
        setting: what users know `names` by, for error messages.

    Raises UsageError for a space, kind, activation or name that does not fit, in one sentence.
    """
    if not is_given(kind):
        check_known("network", kind, NETWORKS)
    check_known("activation", activation, ACTIVATIONS)
    for size in hidden:
        check_positive(hidden=size)
    encode = encoder(space, agent, scale_images)
    features = jax.eval_shape(lambda: encode(zeros(space)))
    seen, select = _part(space, names, setting, agent)
    shapes = [x.shape for x in jax.tree.leaves(select(features))]
    side = _side(shapes)
    if kind == "auto":
        if len(shapes) > 1 and any(len(shape) == 3 for shape in shapes):
            raise UsageError(
                f"{agent} would flatten an image of {spaces.describe(seen)}: let it read one part, "
                "or say so with network 'mlp'"
            )
        large = side >= SMALLEST_SIDES["nature_cnn"]
        kind = "nature_cnn" if large else "cnn" if len(shapes[0]) == 3 else "mlp"
    if isinstance(kind, str) and side < SMALLEST_SIDES.get(kind, 0):
        raise UsageError(
            f"network {kind!r} needs observations of height, width ({SMALLEST_SIDES[kind]} or "
            f"more) and channels, not {spaces.describe(seen)}; use {'mlp' if side < 3 else 'cnn'!r}"
        )
    is_flat = kind in ("mlp", *MEMORIES) or len(shapes) > 1

    def view(features: Features) -> jax.Array:
        arrays = jax.tree.leaves(select(features))
        if is_flat:
            sized = zip(arrays, shapes, strict=True)
            arrays = [x.reshape(*x.shape[: x.ndim - len(shape)], -1) for x, shape in sized]
        return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays, axis=-1)

    shape = jax.eval_shape(view, features).shape
    module = TORSOS.get(kind, MLP) if isinstance(kind, str) else MLP
    torso = partial(module, tuple(hidden), ACTIVATIONS[activation])
    memory = None
    if isinstance(kind, str) and kind in MEMORIES:
        if not hidden:
            raise UsageError(
                f"network {kind!r} needs at least one size in hidden: the last is its carry's"
            )
        memory = partial(MEMORIES[kind], hidden[-1])
    return Reader(kind, encode, features, view, shape, torso, memory)


def refuse_memory(kind: object, agent: str, instead: str) -> None:
    """Refuse a network with memory, for an agent that learns from single steps."""
    if isinstance(kind, str) and kind in MEMORIES:
        raise UsageError(
            f"{agent} learns from single steps, and network {kind!r} from sequences: use "
            f"network 'mlp' or 'cnn', or {instead}"
        )


def on_observations(
    reader: Reader,
    inner: Network,
    normalize: bool,
    view: Callable[[Features], Any] | None = None,
) -> Network:
    """`inner`, which takes what `view` gives of features, on the observations they are made of.

    The view is that of the reader, unless another is given.
    """
    net = viewed(inner, reader.view if view is None else view)
    return encoded(normalized(net, reader.features) if normalize else net, reader.encode)
