"""Policies' distributions over actions, and the head that fits an action space.

A sample is *raw*; `Head.action` turns it into what the environment is given, within its bounds.
Log-probabilities are of raw samples, because a squashed or clipped action cannot always be undone.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rljax.envs import spaces
from rljax.errors import UsageError, check_known

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@struct.dataclass
class Categorical:
    """One of A choices."""

    logits: jax.Array  # [..., A]

    def sample(self, key: jax.Array) -> jax.Array:
        """A choice, int32 [...]; consumes the key."""
        return jax.random.categorical(key, self.logits)

    def mode(self) -> jax.Array:
        """The most probable choice, int32 [...]."""
        return jnp.argmax(self.logits, axis=-1)

    def log_prob(self, raw: jax.Array) -> jax.Array:
        """Log-probability of each choice [...]."""
        chosen = jnp.arange(self.logits.shape[-1]) == raw[..., None]
        return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(self.logits), 0.0), axis=-1)

    def entropy(self, key: jax.Array | None = None) -> jax.Array:
        """Entropy in nats [...]; needs no key."""
        log_probs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    def kl(self, other: "Categorical") -> jax.Array:
        """KL[self, other] in nats [...]."""
        mine, theirs = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(mine) * (mine - theirs), axis=-1)


@struct.dataclass
class Normal:
    """Independent Gaussians over A dimensions."""

    mean: jax.Array  # [..., A]
    log_std: jax.Array  # [..., A]

    def sample(self, key: jax.Array) -> jax.Array:
        """A sample [..., A]; consumes the key."""
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def mode(self) -> jax.Array:
        """The mean [..., A]."""
        return self.mean

    def log_prob(self, raw: jax.Array) -> jax.Array:
        """Log-density summed over the A dimensions [...]."""
        z = (raw - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * jnp.square(z) - self.log_std - HALF_LOG_2PI, axis=-1)

    def entropy(self, key: jax.Array | None = None) -> jax.Array:
        """Differential entropy in nats [...]; needs no key."""
        return jnp.sum(self.log_std + 0.5 + HALF_LOG_2PI, axis=-1)

    def kl(self, other: "Normal") -> jax.Array:
        """KL[self, other] in nats [...]."""
        ratio = jnp.exp(2 * (self.log_std - other.log_std))
        distance = jnp.square((self.mean - other.mean) * jnp.exp(-other.log_std))
        return 0.5 * jnp.sum(ratio + distance - 1.0 + 2 * (other.log_std - self.log_std), axis=-1)


@struct.dataclass
class TanhNormal:
    """`low + (high - low) (tanh(u) + 1) / 2` of Gaussians u; a raw sample is u.

    Source: Haarnoja et al. 2018, appendix C, https://arxiv.org/abs/1812.05905.
    """

    mean: jax.Array  # [..., A]
    log_std: jax.Array  # [..., A]
    half_range: jax.Array = struct.field(default_factory=lambda: jnp.ones(()))  # [A] or []

    @property
    def base(self) -> Normal:
        """The Gaussian before squashing."""
        return Normal(self.mean, self.log_std)

    def sample(self, key: jax.Array) -> jax.Array:
        """A sample of u [..., A]; consumes the key."""
        return self.base.sample(key)

    def mode(self) -> jax.Array:
        """The mean of u [..., A], which is the median of the action."""
        return self.mean

    def log_prob(self, raw: jax.Array) -> jax.Array:
        """Log-density of the *action* that u becomes [...]."""
        return self.base.log_prob(raw) - jnp.sum(self._log_slope(raw), axis=-1)

    def entropy(self, key: jax.Array) -> jax.Array:
        """Entropy of the action in nats [...], by one sample; consumes the key."""
        return self.base.entropy() + jnp.sum(self._log_slope(self.sample(key)), axis=-1)

    def kl(self, other: "TanhNormal") -> jax.Array:
        """KL[self, other] in nats [...]: squashing both alike leaves it unchanged."""
        return self.base.kl(other.base)

    def _log_slope(self, raw: jax.Array) -> jax.Array:
        # log(1 - tanh(u)^2), written so that it stays exact for large |u|.
        slope = 2.0 * (math.log(2.0) - raw - jax.nn.softplus(-2.0 * raw))
        return slope + jnp.log(self.half_range)


@struct.dataclass
class Certain:
    """One value and no other: what a deterministic policy chooses."""

    value: jax.Array  # [..., A]

    def sample(self, key: jax.Array | None = None) -> jax.Array:
        """The value [..., A]; needs no key."""
        return self.value

    def mode(self) -> jax.Array:
        """The value [..., A]."""
        return self.value

    def log_prob(self, raw: jax.Array) -> jax.Array:
        """The logarithm of its probability [...], which is 0."""
        return jnp.zeros(self.value.shape[:-1])

    def entropy(self, key: jax.Array | None = None) -> jax.Array:
        """0 [...]: there is no choice."""
        return jnp.zeros(self.value.shape[:-1])


@struct.dataclass
class RelaxedCategorical:
    """One of A choices, whose samples are vectors that gradients pass: Gumbel-softmax.

    A sample is the softmax of logits + Gumbel noise. Straight through, it is one-hot, with the
    gradient of that softmax. The largest number is a sample of the `Categorical` of these logits.

    Source: Jang et al. 2017, eq. 2 and section 2.2, https://arxiv.org/abs/1611.01144, at a
    temperature of 1.
    """

    logits: jax.Array  # [..., A]
    straight_through: bool = struct.field(pytree_node=False, default=True)

    def sample(self, key: jax.Array) -> jax.Array:
        """A vector [..., A] whose sum is 1; consumes the key."""
        soft = jax.nn.softmax(self.logits + jax.random.gumbel(key, self.logits.shape))
        if not self.straight_through:
            return soft
        # In this order it is one-hot to the last bit.
        return _largest(soft) + (soft - jax.lax.stop_gradient(soft))

    def mode(self) -> jax.Array:
        """The most probable choice, one-hot [..., A]."""
        return _largest(self.logits)

    def log_prob(self, raw: jax.Array) -> jax.Array:
        """Log-probability of the choice of a one-hot vector [...]."""
        return jnp.sum(raw * jax.nn.log_softmax(self.logits), axis=-1)

    def entropy(self, key: jax.Array | None = None) -> jax.Array:
        """Entropy of the choice in nats [...]; needs no key."""
        return Categorical(self.logits).entropy()


def _largest(x: jax.Array) -> jax.Array:
    return jax.nn.one_hot(jnp.argmax(x, axis=-1), x.shape[-1])


Distribution = Categorical | RelaxedCategorical | Normal | TanhNormal | Certain


class Head(NamedTuple):
    """How network outputs become actions of one action space."""

    num_outputs: int
    state_independent_std: bool
    distribution: Callable[[jax.Array], Distribution]  # outputs [..., K] -> distribution
    action: Callable[[jax.Array], jax.Array]  # raw [...] -> what the environment is given [...]
    relaxed: bool = False  # whether raw samples are vectors [..., A] of a Discrete space


KINDS = ("normal", "tanh_normal")
RELAXATIONS = ("straight_through", "soft")


def head(space: spaces.Space, kind: str | Head = "normal", agent: str = "this agent") -> Head:
    """The head for an action space; a `Head` is returned as it is.

    Discrete spaces get a `Categorical`. Boxes get, by `kind`, a "normal" with a state-independent
    standard deviation, clipped at the bounds (the habit of PPO on continuous control), or a
    "tanh_normal", squashed into them. Raises UsageError for a space that neither fits.
    """
    if isinstance(kind, Head):
        return kind
    check_known("distribution", kind, KINDS)
    if isinstance(space, spaces.Discrete):
        return Head(space.n, False, Categorical, lambda raw: raw)
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise UsageError(
            f"{agent} needs a Discrete action space or a Box of one axis, "
            f"not {spaces.describe(space)}"
        )
    size = space.shape[0]
    if kind == "normal":

        def normal(outputs: jax.Array) -> Normal:
            return Normal(outputs[..., :size], outputs[..., size:])

        return Head(2 * size, True, normal, lambda raw: jnp.clip(raw, space.low, space.high))
    if not space.bounded:
        raise UsageError(
            f"distribution 'tanh_normal' needs finite bounds, not {spaces.describe(space)}; "
            "use distribution 'normal'"
        )

    def tanh_normal(outputs: jax.Array) -> TanhNormal:
        log_std = jnp.clip(outputs[..., size:], -5.0, 2.0)
        return TanhNormal(outputs[..., :size], log_std, jnp.asarray(space.half_range))

    return Head(2 * size, False, tanh_normal, squashed(space))


def squashed(space: spaces.Box) -> Callable[[jax.Array], jax.Array]:
    """Raw actions [..., A] of any size to actions within the bounds of a Box, by tanh."""

    def squash(raw: jax.Array) -> jax.Array:
        # Rounding alone would leave the bounds by a hair.
        action = space.middle + space.half_range * jnp.tanh(raw)
        return jnp.clip(action, space.low, space.high)

    return squash


def deterministic(space: spaces.Box) -> Head:
    """The head of a policy without noise, for a bounded Box of one axis: tanh, within the bounds.

    Source: Lillicrap et al. 2016, section 7, https://arxiv.org/abs/1509.02971.
    """
    return Head(space.shape[0], False, Certain, squashed(space))


def relaxed(space: spaces.Discrete, kind: str) -> Head:
    """The head of a policy over a Discrete space whose samples gradients pass, by its kind.

    Raises UsageError for a kind other than "straight_through" and "soft".
    """
    check_known("relaxation", kind, RELAXATIONS)
    of = partial(RelaxedCategorical, straight_through=kind == "straight_through")
    return Head(space.n, False, of, lambda raw: jnp.argmax(raw, axis=-1), relaxed=True)


def head_for_critics(
    space: spaces.Space, stochastic: bool, relaxation: str | None, agent: str
) -> Head:
    """The head of a policy over a space that critics can value.

    Args:
        space: a bounded Box of one axis, or Discrete.
        stochastic: whether the policy is a distribution: over a Box a "tanh_normal" with densities
            of actions scaled to [-1, 1], over a Discrete space a `Categorical`.
        relaxation: of a policy over a Discrete space that is not stochastic, see `relaxed`.
        agent: who asks, for error messages.

    Raises UsageError for a space that does not fit, in one sentence.
    """
    described = spaces.describe(space)
    if isinstance(space, spaces.Discrete) and not stochastic:
        if relaxation is not None:
            return relaxed(space, relaxation)
        raise UsageError(
            f"{agent} needs a Box of one axis as its action space, not {described}: use sac, which "
            "takes discrete actions too"
        )
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and not space.bounded:
        raise UsageError(
            f"{agent} needs actions with finite bounds, not {described}: give the Box bounds, or "
            "use ppo or ippo"
        )
    found = head(space, "tanh_normal", agent)
    if not isinstance(space, spaces.Box):
        return found
    if not stochastic:
        return deterministic(space)

    def in_unit_box(outputs: jax.Array) -> Distribution:
        # Entropies of actions in [-1, 1] are what target entropies are told for.
        return found.distribution(outputs).replace(half_range=jnp.ones(()))  # type: ignore[union-attr]

    return found._replace(distribution=in_unit_box)
