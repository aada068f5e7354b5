"""Networks as pairs of pure functions, fitted to an observation space."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeGuard, TypeVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from rljax.envs import spaces
from rljax.errors import UsageError, check_known, check_positive, nearest
from rljax.networks.distributions import Head
from rljax.networks.modules import CNN, MLP, ActorCriticModule, Outputs, RecurrentActorCriticModule
from rljax.types import Actor, Carry, Key, Obs, Params


class Network(NamedTuple):
    """An actor-critic: one step over any leading axes, with a memory that may be empty."""

    init: Callable[[Key], Params]
    apply: Callable[[Params, Obs, Carry], tuple[tuple[jax.Array, jax.Array], Carry]]
    """(params, obs [..., ...], carry) to ((policy outputs [..., K], value [...]), carry)."""
    initial_carry: Callable[[tuple[int, ...]], Carry] = lambda leading: ()  # of leading axes
    encode: Callable[[Obs], jax.Array] = lambda obs: obs  # observations to float features


Pair = tuple[Callable, Callable]
"""`init(key) -> params` and `apply(params, features, context)` of a network of one's own. The
context is a carry for policies, as `Network` says, and a key or None for action values."""

# A Network, or a QNetwork, whose third argument is not a carry but a key.
AnyNetwork = TypeVar("AnyNetwork", bound=Any)


@struct.dataclass
class RunningStatistics:
    """Mean and variance of each feature, over all experience so far; not trained by gradients."""

    mean: jax.Array  # [F...]
    variance: jax.Array  # [F...]
    count: jax.Array  # [] float32


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}
NETWORKS = ("auto", "mlp", "cnn", "gru")


def is_given(kind: object) -> TypeGuard[nn.Module | Network | Pair]:
    """Whether a network is given as such, a module or functions, and not named."""
    is_pair = isinstance(kind, tuple) and len(kind) == 2 and all(map(callable, kind))
    return isinstance(kind, nn.Module | Network) or is_pair


def encoder(
    space: spaces.Space, kind: object, agent: str, scale_images: bool = True
) -> Callable[[Obs], jax.Array]:
    """How an observation becomes float features: one-hot, flattened, or left as pixels.

    With `scale_images`, images (three axes of uint8) are divided by 255.

    Raises UsageError for spaces that no network here can read, naming the agent and the space.
    """
    pixels = isinstance(space, spaces.Box) and len(space.shape) == 3 and min(space.shape[:2]) >= 3
    if kind == "cnn" and not pixels:
        raise UsageError(
            f"network 'cnn' needs observations of height, width (3 or more) and channels, "
            f"not {spaces.describe(space)}; use 'mlp'"
        )
    if isinstance(space, spaces.Discrete):
        return lambda obs: jax.nn.one_hot(obs, space.n)
    if not isinstance(space, spaces.Box) or len(space.shape) > 3:
        raise UsageError(
            f"{agent} cannot use observations of {spaces.describe(space)}: "
            "it reads a Discrete space or a Box of at most three axes"
        )
    rank = len(space.shape)
    is_image = rank == 3 and space.dtype == jnp.uint8
    largest = 255.0 if is_image and scale_images else 1.0
    is_flat = kind in ("mlp", "gru")

    def features(obs: Obs) -> jax.Array:
        x = jnp.asarray(obs, jnp.float32) / largest
        return x.reshape(*x.shape[: x.ndim - rank], -1) if is_flat else x

    return features


class Reader(NamedTuple):
    """What the networks on one space have in common."""

    kind: str | nn.Module | Network | Pair  # "auto" decided
    encode: Callable[[Obs], jax.Array]  # observations to float features
    shape: tuple[int, ...]  # of one observation's features
    torso: Callable[..., nn.Module]  # an MLP or a CNN; takes their further fields


def read(
    space: spaces.Space,
    kind: str | nn.Module | Network | Pair,
    hidden: Sequence[int],
    activation: str,
    agent: str,
    scale_images: bool = True,
) -> Reader:
    """The part of a network that depends on the observations; see `network` for the arguments.

    Raises UsageError for a space, kind or activation that does not fit, in one sentence.
    """
    if not is_given(kind) and kind not in NETWORKS:
        raise UsageError(f"network {kind!r} is not known{nearest(kind, NETWORKS)}")
    check_known("activation", activation, ACTIVATIONS)
    for size in hidden:
        check_positive(hidden=size)
    if kind == "auto":
        pixels = isinstance(space, spaces.Box) and len(space.shape) == 3
        kind = "cnn" if pixels else "mlp"
    encode = encoder(space, kind, agent, scale_images)
    assert not isinstance(space, spaces.Dict), "encoder refuses these"
    shape = jax.eval_shape(encode, jax.ShapeDtypeStruct(space.shape, space.dtype)).shape
    torso = partial(CNN if kind == "cnn" else MLP, tuple(hidden), ACTIVATIONS[activation])
    return Reader(kind, encode, shape, torso)


def on_observations(reader: Reader, inner: AnyNetwork, normalize: bool) -> AnyNetwork:
    """`inner`, which takes features, on the observations they are made of."""
    return encoded(normalized(inner, reader.shape) if normalize else inner, reader.encode)


def network(
    space: spaces.Space,
    head: Head,
    kind: str | nn.Module | Network | Pair = "auto",
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    normalize_observations: bool = False,
    agent: str = "this agent",
    scale_images: bool = True,
) -> Network:
    """The actor-critic that reads a space's observations.

    Args:
        space: what it observes.
        head: what its outputs must be.
        kind: "mlp" (a torso each for policy and value), "cnn" (one torso for both), "gru" (an
            MLP, then a memory of `hidden[-1]`), "auto" (cnn for three axes, else mlp), a linen
            module with the call signature of `ActorCriticModule`, a pair `(init, apply)` on float
            features, as the first two of a `Network`, or a `Network`, which may have a memory.
        hidden: sizes of the dense layers.
        activation: one of tanh, relu, elu, gelu, silu.
        normalize_observations: whether to put running statistics between the two.
        agent: who asks, for error messages.
        scale_images: whether images (three axes of uint8) are divided by 255.

    Raises:
        UsageError: for a space, kind or activation that does not fit, in one sentence.
    """
    if kind == "gru" and not hidden:
        raise UsageError("network 'gru' needs at least one size in hidden: the last is its memory")
    reader = read(space, kind, hidden, activation, agent, scale_images)
    torso, shape = reader.torso, reader.shape
    outputs = partial(Outputs, head.num_outputs, head.state_independent_std)
    match reader.kind:
        case tuple():
            net = Network(*reader.kind)
            _check_outputs(net, shape, head, agent)
        case nn.Module():
            net = from_linen(reader.kind, shape)
        case "gru":
            net = from_linen(
                RecurrentActorCriticModule(torso, outputs, hidden[-1]), shape, hidden[-1]
            )
        case _:
            shared = reader.kind == "cnn"
            net = from_linen(ActorCriticModule(torso, outputs, shared), shape)
    return on_observations(reader, net, normalize_observations)


def _check_outputs(net: Network, shape: tuple[int, ...], head: Head, agent: str) -> None:
    """Refuse functions whose outputs for one observation are not what the head reads."""

    def apply(key: Key):
        return net.apply(net.init(key), jnp.zeros((1, *shape)), net.initial_carry((1,)))

    found = jax.eval_shape(apply, jax.random.key(0))
    wanted = f"((outputs [..., {head.num_outputs}], values [...]), carry)"
    match found:
        case ((outputs, values), _) if outputs.shape == (1, head.num_outputs):
            if values.shape == (1,):
                return
    shapes = jax.tree.map(lambda x: x.shape, found)
    raise UsageError(
        f"the network of {agent} gives {shapes} for one observation, where {wanted} is due"
    )


def from_linen(module: nn.Module, shape: tuple[int, ...], memory: int = 0) -> Network:
    """A linen module `(features, carry) -> ((outputs, value), carry)` as a `Network`.

    Args:
        module: the module; its call takes any leading axes.
        shape: of one observation's features.
        memory: the size of its recurrent carry [..., memory]; 0 for none.
    """

    def initial_carry(leading: tuple[int, ...]) -> Carry:
        return jnp.zeros((*leading, memory)) if memory else ()

    def init(key: Key) -> Params:
        return module.init(key, jnp.zeros(shape), initial_carry(()))

    def apply(params: Params, features: jax.Array, carry: Carry):
        return with_one_axis(partial(module.apply, params), len(shape), features, carry)

    return Network(init, apply, initial_carry)


def with_one_axis(function: Callable, rank: int, features: jax.Array, *others):
    """`function(features, *others)`, for which leading axes are made one and restored after it.

    XLA's CPU backend multiplies matrices with two at half the speed. Of one observation, features
    have `rank` axes.
    """
    leading = features.shape[: features.ndim - rank]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(leading) :]), (features, *others))
    return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]), function(*flat))


def normalized(inner: AnyNetwork, shape: tuple[int, ...]) -> AnyNetwork:
    """`inner` on features of running mean 0 and variance 1, clipped to [-10, 10].

    The statistics live in the parameters, so that rollout, loss, evaluation and checkpoint all use
    the one snapshot; `updates.observation_statistics` moves them and gradients never do.
    """

    def init(key: Key) -> Params:
        statistics = RunningStatistics(jnp.zeros(shape), jnp.ones(shape), jnp.float32(0))
        return {"network": inner.init(key), "statistics": statistics}

    def apply(params: Params, features: jax.Array, context):
        statistics = jax.lax.stop_gradient(params["statistics"])
        scale = jax.lax.rsqrt(statistics.variance + 1e-8)
        features = jnp.clip((features - statistics.mean) * scale, -10.0, 10.0)
        return inner.apply(params["network"], features, context)

    return inner._replace(init=init, apply=apply)


def encoded(inner: AnyNetwork, encode: Callable[[Obs], jax.Array]) -> AnyNetwork:
    """`inner` on encoded observations."""

    def apply(params: Params, obs: Obs, context):
        return inner.apply(params, encode(obs), context)

    return inner._replace(apply=apply, encode=encode)


def unroll(network: Network, params: Params, obs: Obs, carry: Carry, done: jax.Array):
    """Policy outputs [L, B, K] and values [L, B] of sequences that may cross episode ends.

    Args:
        obs: [L, B, ...].
        carry: [B, ...], the memory before the first observation; () if feed-forward.
        done: [L, B], whether the episode ended *at* each step: the memory is cleared after it.
    """
    if not jax.tree.leaves(carry):
        return network.apply(params, obs, carry)[0]

    def step(carry, inputs):
        obs_t, done_t = inputs
        out, carry = network.apply(params, obs_t, carry)
        return reset_carry(network, carry, done_t), out

    return jax.lax.scan(step, carry, (obs, done))[1]


def reset_carry(network: Network | Actor, carry: Carry, done: jax.Array) -> Carry:
    """The carry [N, ...] with the rows of finished episodes back at the start."""
    fresh = network.initial_carry(done.shape)
    return jax.tree.map(
        lambda new, old: jnp.where(
            done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old
        ),
        fresh,
        carry,
    )
