"""How action values become behaviour: one registry, for tables and networks alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rljax import collectives, ops
from rljax.actors.options import ez_greedy
from rljax.envs import spaces
from rljax.errors import UsageError, check_known
from rljax.hparams import fraction, non_negative, positive
from rljax.networks import Categorical, QNetwork
from rljax.types import Actor, Carry, Hparams, Key, Obs, Params, Policy

Probabilities = Callable[[Hparams, jax.Array], Callable[[jax.Array], jax.Array]]
"""(hparams, progress []) to a function from action values [..., A] to probabilities [..., A]."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExplorationHparams:
    """The hyperparameters of all explorations; each reads those that concern it."""

    epsilon_start: float = fraction(1.0)
    """Probability of a random action at the start; with "ez_greedy", of beginning to repeat one."""
    epsilon_end: float = fraction(0.05)
    """The same once exploration has been annealed."""
    exploration_fraction: float = fraction(0.5)
    """Part of the schedule over which it is annealed, linearly."""
    temperature: float = positive(1.0)
    """Of "boltzmann" exploration: the difference of value that makes a factor of e."""
    duration_exponent: float = non_negative(2.0)
    """Of "ez_greedy" exploration: how fast n-fold repetition gets rare, as n^-exponent."""
    epsilon_base: float = fraction(0.4)
    """Of "fixed_epsilons" exploration: the epsilon of the first environment, the largest."""
    epsilon_alpha: float = non_negative(7.0)
    """Of the same: that of the last environment is epsilon_base^(1 + epsilon_alpha)."""


class Exploration(NamedTuple):
    """A way to explore: whoever acts, and how likely each action is."""

    actor: Callable[[QNetwork, spaces.Discrete], Actor]
    """(action values, the space of the actions of an environment) to who acts."""
    probabilities: Probabilities | None = None
    """What SARSA and Expected SARSA ask; None where it depends on more than action values."""
    network_carry: Callable[[Carry], Carry] = lambda carry: carry
    """The carry of the network, out of the carry of who acts."""


def annealed_epsilon(hparams: Hparams, progress: jax.Array) -> jax.Array:
    """Epsilon [], from `epsilon_start` to `epsilon_end` over `exploration_fraction`."""
    return ops.linear_schedule(
        hparams.epsilon_start, hparams.epsilon_end, progress, hparams.exploration_fraction
    )


def by_probabilities(probabilities: Probabilities) -> Exploration:
    """The exploration whose actions have these probabilities, apart from each other."""
    return Exploration(lambda q, space: value_actor(q, probabilities), probabilities)


def value_actor(q: QNetwork, probabilities: Probabilities) -> Actor:
    """Acts on the values `q`; its mode is the greedy action, without noise."""

    def policy(hparams: Hparams, progress: jax.Array):
        to_probabilities = probabilities(hparams, progress)

        def act(params: Params, obs: Obs, carry: Carry, key: Key):
            # Folded and not split, which costs nothing where the network has no noise.
            values, carry = q.values(params, obs, carry, jax.random.fold_in(key, 0))
            return ops.sample(to_probabilities(values), key), {}, carry

        return act

    def mode(params: Params, obs: Obs, carry: Carry):
        values, carry = q.values(params, obs, carry, None)
        return jnp.argmax(values, axis=-1), carry

    def distribution(params: Params, obs: Obs, carry: Carry):
        values, carry = q.values(params, obs, carry, None)
        return Categorical(values), carry

    return Actor(q.net.init, policy, lambda hparams: mode, q.net.initial_carry, distribution)


def recording_values(
    policy: Policy, q: QNetwork, network_carry: Callable[[Carry], Carry] = lambda carry: carry
) -> Policy:
    """`policy`, which also records action_values [N, ..., A]: what `q` gives, without noise.

    For the scalar head, whose outputs are values, or values made small.
    """

    def act(params: Params, obs: Obs, carry: Carry, key: Key):
        action, extras, after = policy(params, obs, carry, key)
        values, _ = q.net.apply(params, obs, network_carry(carry) if q.net.recurrent else (), None)
        return action, {**extras, "action_values": values}, after

    return act


def fixed_epsilons(hparams: Hparams, progress: jax.Array):
    """Epsilon-greedy, of values [N, ..., A], with an epsilon for each environment, fixed for
    the run.

    Rows are environments in order, on several devices as well. Source: Horgan et al. 2018, section
    4, https://arxiv.org/abs/1803.00933.
    """

    def probabilities(q: jax.Array) -> jax.Array:
        place, envs = collectives.places(len(q))
        epsilon = ops.fixed_epsilons(hparams.epsilon_base, hparams.epsilon_alpha, place, envs)
        return ops.epsilon_greedy(q, epsilon.reshape(-1, *[1] * (q.ndim - 1)))

    return probabilities


def greedy(hparams: Hparams, progress: jax.Array):
    """Always the greedy action: noisy weights vary it, or options interrupt it."""
    return ops.greedy


EXPLORATIONS: dict[str, Exploration] = {
    "epsilon_greedy": by_probabilities(
        lambda hp, progress: lambda q: ops.epsilon_greedy(q, annealed_epsilon(hp, progress))
    ),
    "boltzmann": by_probabilities(lambda hp, progress: lambda q: ops.boltzmann(q, hp.temperature)),
    "ez_greedy": Exploration(
        lambda q, space: ez_greedy(value_actor(q, greedy), annealed_epsilon, space),
        network_carry=lambda carry: carry[0],
    ),
    # Not by probabilities: values alone do not say whose they are.
    "fixed_epsilons": Exploration(lambda q, space: value_actor(q, fixed_epsilons)),
}


def exploration(kind: str | Exploration) -> Exploration:
    """The exploration of that name; UsageError for one that is not known."""
    if isinstance(kind, Exploration):
        return kind
    check_known("exploration", kind, EXPLORATIONS)
    return EXPLORATIONS[kind]


def exploring_actor(
    kind: str | Exploration, q: QNetwork, space: spaces.Discrete, noisy: bool = False
) -> Actor:
    """Acts on the values `q` and explores; with `noisy`, by the noise of the weights alone.

    Raises UsageError for a kind that is not known, and for another exploration together with noisy
    weights.
    """
    found = exploration(kind)
    if not noisy:
        return found.actor(q, space)
    if kind != "epsilon_greedy":
        raise UsageError(
            "noisy = True explores by the noise of the weights alone: make it False, or leave out "
            f"exploration {kind!r}"
        )
    return value_actor(with_noise_of_each_environment(q), greedy)


def with_noise_of_each_environment(q: QNetwork) -> QNetwork:
    """`q`, for observations [N, ...], with noise that is sampled for each of them.

    A noisy layer samples one set of weights for a whole batch, which is what an update wants
    (section 3.2). With the same weights in all environments they would all explore alike.

    Source: Fortunato et al. 2018, https://arxiv.org/abs/1706.10295.
    """

    def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
        if key is None:
            return q.net.apply(params, obs, carry, None)
        keys = jax.random.split(key, jax.tree.leaves(obs)[0].shape[0])
        return jax.vmap(q.net.apply, (None, 0, 0, 0))(params, obs, carry, keys)

    return q._replace(net=q.net._replace(apply=apply))
