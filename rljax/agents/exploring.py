"""How an agent that has action values explores."""

from collections.abc import Callable

import jax

from rljax import ops
from rljax.errors import UsageError, nearest
from rljax.types import Hparams

Explore = Callable[[Hparams, jax.Array], Callable[[jax.Array], jax.Array]]
"""(hparams, progress []) to a function from action values [..., A] to probabilities [..., A]."""


def annealed_epsilon(hparams: Hparams, progress: jax.Array):
    """Epsilon-greedy, from `epsilon_start` to `epsilon_end` over `exploration_fraction`."""
    epsilon = ops.linear_schedule(
        hparams.epsilon_start, hparams.epsilon_end, progress, hparams.exploration_fraction
    )
    return lambda q: ops.epsilon_greedy(q, epsilon)


def boltzmann(hparams: Hparams, progress: jax.Array):
    """In proportion to exp(value / `temperature`)."""
    return lambda q: ops.boltzmann(q, hparams.temperature)


def greedy_when_noisy(hparams: Hparams, progress: jax.Array):
    """Always the best action: noise in the weights is what varies it."""
    return ops.greedy


EXPLORATIONS: dict[str, Explore] = {"epsilon_greedy": annealed_epsilon, "boltzmann": boltzmann}


def exploration(kind: str) -> Explore:
    """The exploration of that name; raises UsageError for one that is not known."""
    if kind not in EXPLORATIONS:
        raise UsageError(f"exploration {kind!r} is not known{nearest(kind, EXPLORATIONS)}")
    return EXPLORATIONS[kind]
