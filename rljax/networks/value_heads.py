"""Value heads: what the outputs of a network mean, and how they are learnt."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from rljax.errors import UsageError, check_known, check_positive
from rljax.networks.modules import Quantiles, midpoints
from rljax.ops.td import (
    huber,
    projected,
    quantile_huber,
    rescaled,
    td_target,
    two_hot,
    unscaled,
)

Estimate = Any  # of every action: an array or Quantiles [..., A, *shape]
Chosen = Any  # of one action: the same [..., *shape]

LOSSES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "huber": huber,
    "squared": lambda error: 0.5 * jnp.square(error),
}


class ValueHead(NamedTuple):
    """How the outputs of a network stand for action values, and how they are learnt."""

    shape: tuple[int, ...]
    """Of the outputs for one action: () or (M,)."""
    q: Callable[[Estimate], jax.Array]
    """Expected values [..., A]."""
    pick: Callable[[Estimate, jax.Array], Chosen]
    """(estimate, policy [..., A]) to the estimate of the action that the policy takes.

    For a policy that mixes actions it is the mean: of values, which is what Expected SARSA wants,
    or of quantiles or logits, which is not the mixture of the distributions.
    """
    backup: Callable[[Chosen, jax.Array, jax.Array], jax.Array]
    """(chosen, reward [...], discount [...]) to the target r + discount x chosen [..., *shape].

    Gradients flow through it: it is the caller who stops them.
    """
    loss: Callable[[Chosen, jax.Array], tuple[jax.Array, jax.Array]]
    """(chosen, target) to the loss [...] and, for a replay, the priority [...] of each."""
    certain: Callable[[jax.Array], jax.Array]
    """Numbers [...] to the targets [..., *shape] that stand for each of them alone."""
    implicit: bool = False
    """Whether the network samples the fractions whose quantiles it gives."""
    clipped: Callable[[Chosen, jax.Array, jax.Array], jax.Array] | None = None
    """(chosen, reward [...], discount [...]) to the part [...] of each target that lies beyond what
    the outputs can stand for; None for a head that has no bounds."""


def scalar(
    loss: str | Callable[[jax.Array], jax.Array] = "huber", rescale: bool = False
) -> ValueHead:
    """One expected value per action; the priority is the absolute error.

    Args:
        loss: "huber", "squared", or a function from errors [...] to losses [...].
        rescale: whether outputs, targets and errors are values made small by `ops.rescaled`.

    Raises UsageError for a loss of another name.

    Source of rescaled values: Kapturowski et al. 2019, section 2.3,
    https://openreview.net/forum?id=r1lyTjAqYX.
    """
    if not callable(loss):
        check_known("loss", loss, LOSSES)
        loss = LOSSES[loss]

    def losses(value: jax.Array, target: jax.Array):
        error = target - value
        return loss(error), jnp.abs(error)

    def pick(q: jax.Array, policy: jax.Array) -> jax.Array:
        return jnp.sum(q * policy, axis=-1)

    small, large = _scales(rescale)

    def backup(value: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        return small(td_target(reward, discount, large(value)))

    return ValueHead((), large, pick, backup, losses, small)


def categorical(
    v_min: float | None, v_max: float | None, num_atoms: int, rescale: bool = False
) -> ValueHead:
    """Logits of `num_atoms` returns from `v_min` to `v_max`, which have to span those possible.

    The target is probabilities; loss and priority are KL[target, chosen] in nats.

    Args:
        v_min: the least return.
        v_max: the largest.
        num_atoms: how many returns there are.
        rescale: whether atoms are evenly spaced as `ops.rescaled` makes them, so that small returns
            are told apart by more of them. The expected value is that of the mean of these.

    Raises UsageError for fewer than two atoms, or bounds that are missing or the wrong way round.

    Source: Bellemare et al. 2017 (C51), https://arxiv.org/abs/1707.06887; the KL as priority:
    Hessel et al. 2018, https://arxiv.org/abs/1710.02298; rescaled atoms: Schrittwieser et al. 2020,
    appendix F, https://arxiv.org/abs/1911.08265.
    """
    check_positive(num_atoms=num_atoms)
    if num_atoms < 2:
        raise UsageError("num_atoms must be at least 2 for value head 'c51', not 1")
    if v_min is None or v_max is None:
        raise UsageError(
            "value head 'c51' needs v_min and v_max, the least and the largest discounted return "
            "that is possible: for a reward of 1 a step and gamma = 0.99, v_min = 0 and v_max = 100"
        )
    if not v_min < v_max:
        raise UsageError(f"v_min = {v_min:g} must be less than v_max = {v_max:g}")
    small, large = _scales(rescale)
    atoms = jnp.linspace(small(v_min), small(v_max), num_atoms)
    returns = large(atoms)

    def q(logits: jax.Array) -> jax.Array:
        return large(jnp.sum(jax.nn.softmax(logits) * atoms, axis=-1))

    def moved(reward: jax.Array, discount: jax.Array) -> jax.Array:
        return td_target(reward[..., None], discount[..., None], returns)

    def backup(logits: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        return projected(atoms, jax.nn.softmax(logits), small(moved(reward, discount)))

    def loss(logits: jax.Array, target: jax.Array):
        kl = jnp.sum(xlogy(target, target) - target * jax.nn.log_softmax(logits), axis=-1)
        return kl, kl

    def clipped(logits: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        shifted = moved(reward, discount)
        slack = 1e-3 * (v_max - v_min)  # of rounding; v_max itself may be a fixed point
        beyond = (shifted < v_min - slack) | (shifted > v_max + slack)
        return jnp.sum(jax.nn.softmax(logits) * beyond, axis=-1)

    def certain(numbers: jax.Array) -> jax.Array:
        return two_hot(atoms, small(numbers))

    return ValueHead((num_atoms,), q, _pick, backup, loss, certain, clipped=clipped)


def quantile(num_quantiles: int, kappa: float = 1.0) -> ValueHead:
    """The quantiles of returns at the midpoints of `num_quantiles` equal fractions.

    The target is their samples [..., M]; the priority is the loss.

    Raises UsageError for no quantiles, or a kappa that is not above 0.

    Source: Dabney et al. 2018 (QR-DQN), https://arxiv.org/abs/1710.10044.
    """
    check_positive(num_quantiles=num_quantiles)
    _check_kappa(kappa)

    def loss(values: jax.Array, target: jax.Array):
        tau = jnp.broadcast_to(midpoints(num_quantiles), values.shape)
        losses = quantile_huber(values, tau, target, kappa)
        return losses, losses

    mean = partial(jnp.mean, axis=-1)
    return ValueHead((num_quantiles,), mean, _pick, _shifted, loss, _alone)


def implicit_quantile(num_samples: int, kappa: float = 1.0) -> ValueHead:
    """Quantiles at `num_samples` fractions that the network samples, as `Quantiles`.

    The target is their samples [..., M]; the priority is the loss.

    Raises UsageError for no samples, or a kappa that is not above 0.

    Source: Dabney et al. 2018 (IQN), https://arxiv.org/abs/1806.06923.
    """
    check_positive(num_samples=num_samples)
    _check_kappa(kappa)

    def q(estimate: Quantiles) -> jax.Array:
        return jnp.mean(estimate.values, axis=-1)

    def pick(estimate: Quantiles, policy: jax.Array) -> Quantiles:
        return Quantiles(_pick(estimate.values, policy), estimate.tau)

    def backup(chosen: Quantiles, reward: jax.Array, discount: jax.Array) -> jax.Array:
        return _shifted(chosen.values, reward, discount)

    def loss(chosen: Quantiles, target: jax.Array):
        losses = quantile_huber(chosen.values, chosen.tau, target, kappa)
        return losses, losses

    return ValueHead((num_samples,), q, pick, backup, loss, _alone, implicit=True)


def _pick(numbers: jax.Array, policy: jax.Array) -> jax.Array:
    """[..., A, M] and [..., A] to [..., M]; a sum, because it is faster than a gather."""
    return jnp.sum(numbers * policy[..., None], axis=-2)


def _shifted(values: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
    return td_target(reward[..., None], discount[..., None], values)


def _alone(numbers: jax.Array) -> jax.Array:
    return numbers[..., None]


def _scales(rescale: bool) -> tuple[Callable[[Any], jax.Array], ...]:
    """From values to what outputs stand for, and back."""
    return (rescaled, unscaled) if rescale else (lambda x: x, lambda x: x)


def _check_kappa(kappa: float) -> None:
    if not kappa > 0:
        raise UsageError(f"kappa must be above 0, not {kappa:g}")


def value_head(
    kind: str | ValueHead,
    loss: str | Callable[[jax.Array], jax.Array] = "huber",
    num_atoms: int = 51,
    v_min: float | None = None,
    v_max: float | None = None,
    kappa: float = 1.0,
    rescale: bool = False,
) -> ValueHead:
    """The value head of that name; each reads the arguments that concern it.

    Args:
        kind: "scalar", or a distribution over returns: "c51", "qr" or "iqn"; a `ValueHead` is
            returned as it is.
        loss: of scalar: "huber", "squared", or a function from errors [...] to losses [...].
        num_atoms: of a distribution: atoms (c51), quantiles (qr) or samples of them (iqn).
        v_min: of c51: the least discounted return that is possible; it has no default.
        v_max: of c51: the largest.
        kappa: error up to which the loss of qr and iqn is a square.
        rescale: of scalar and c51: whether outputs are values made small, see there.

    Raises UsageError for names and numbers that do not fit, in one sentence.
    """
    if isinstance(kind, ValueHead):
        return kind
    heads = {
        "scalar": lambda: scalar(loss, rescale),
        "c51": lambda: categorical(v_min, v_max, num_atoms, rescale),
        "qr": lambda: quantile(num_atoms, kappa),
        "iqn": lambda: implicit_quantile(num_atoms, kappa),
    }
    check_known("value head", kind, heads)
    if rescale and kind not in ("scalar", "c51"):
        raise UsageError(
            "rescale_values is for the heads scalar and c51: make it False, or leave out head "
            f"{kind!r}"
        )
    return heads[kind]()
