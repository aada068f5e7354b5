"""How an agent that has action values explores."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rljax import ops
from rljax.errors import UsageError, check_known
from rljax.networks import QNetwork
from rljax.types import Actor, Hparams, Key, Obs, Params

Explore = Callable[[Hparams, jax.Array], Callable[[jax.Array], jax.Array]]
"""(hparams, progress []) to a function from action values [..., A] to probabilities [..., A]."""


def annealed(hparams: Hparams, progress: jax.Array) -> jax.Array:
    """Epsilon [], from `epsilon_start` to `epsilon_end` over `exploration_fraction`."""
    return ops.linear_schedule(
        hparams.epsilon_start, hparams.epsilon_end, progress, hparams.exploration_fraction
    )


def epsilon_greedy(hparams: Hparams, progress: jax.Array):
    """The best action, but any with probability `annealed` epsilon."""
    return lambda q: ops.epsilon_greedy(q, annealed(hparams, progress))


def boltzmann(hparams: Hparams, progress: jax.Array):
    """In proportion to exp(value / `temperature`)."""
    return lambda q: ops.boltzmann(q, hparams.temperature)


def greedy(hparams: Hparams, progress: jax.Array):
    """Always the best action: noisy weights vary it, or options interrupt it."""
    return ops.greedy


EXPLORATIONS: dict[str, Explore] = {"epsilon_greedy": epsilon_greedy, "boltzmann": boltzmann}


def exploration(kind: str) -> Explore:
    """The exploration of that name; raises UsageError for one that is not known."""
    check_known("exploration", kind, EXPLORATIONS)
    return EXPLORATIONS[kind]


LONGEST = 1000  # steps of an option; with an exponent of 2, fewer than one in 1000 would take more


class Option(NamedTuple):
    """What an environment is exploring with: one action, for some more steps."""

    action: jax.Array  # [N] int32
    steps_left: jax.Array  # [N] int32, 0 where none is in force


def ez_greedy(actor: Actor, num_actions: int) -> Actor:
    """`actor`, interrupted by options: an action drawn uniformly, repeated for a random time.

    Where no option is in force, one begins with probability `annealed` epsilon, so a larger part
    of the steps than that explores. How many steps it takes is zeta-distributed, the probability of
    n in proportion to n^-`duration_exponent`; were it always one, this would be epsilon-greedy.
    Options are the actor's memory, so they end with their episode; `actor` must have none.

    Source: Dabney et al. 2021, algorithm 1, https://arxiv.org/abs/2006.01782.
    """

    def policy(hparams: Hparams, progress: jax.Array):
        exploit = actor.policy(hparams, progress)
        epsilon = annealed(hparams, progress)

        def act(params: Params, obs: Obs, option: Option, key: Key):
            key_exploit, key_begin, key_action, key_steps = jax.random.split(key, 4)
            best, extras, _ = exploit(params, obs, (), key_exploit)
            idle = option.steps_left == 0
            begins = idle & jax.random.bernoulli(key_begin, epsilon, best.shape)
            drawn = jax.random.randint(key_action, best.shape, 0, num_actions)
            steps = ops.sample_zeta(hparams.duration_exponent, LONGEST, best.shape, key_steps)
            action = jnp.where(begins, drawn, option.action)
            steps_left = jnp.where(begins, steps, option.steps_left)
            chosen = jnp.where(steps_left > 0, action, best)
            return chosen, extras, Option(action, jnp.maximum(steps_left - 1, 0))

        return act

    def mode(params: Params, obs: Obs, option: Option):
        return actor.mode(params, obs, ())[0], option

    def none(leading: tuple[int, ...]) -> Option:
        return Option(jnp.zeros(leading, jnp.int32), jnp.zeros(leading, jnp.int32))

    return Actor(actor.init, policy, mode, none)


def noise_of_its_own(q: QNetwork) -> QNetwork:
    """`q`, for observations [N, ...], with noise that is drawn for each of them.

    A noisy layer draws one set of weights for a whole batch, which is what an update wants (section
    3.2). With the same weights in all environments they would all explore alike.

    Source: Fortunato et al. 2018, https://arxiv.org/abs/1706.10295.
    """

    def apply(params: Params, obs: Obs, key: Key | None):
        if key is None:
            return q.apply(params, obs, None)
        keys = jax.random.split(key, jax.tree.leaves(obs)[0].shape[0])
        return jax.vmap(q.apply, (None, 0, 0))(params, obs, keys)

    return q._replace(apply=apply)


def exploring_actor(kind: str, q: QNetwork, num_actions: int, noisy: bool = False) -> Actor:
    """Acts on the values `q`, and explores by "epsilon_greedy" or "ez_greedy"; or by noisy weights.

    Raises UsageError for a kind that is not known, and for "ez_greedy" on noisy weights.
    """
    actors = {
        "epsilon_greedy": noise_of_its_own(q).actor(greedy) if noisy else q.actor(epsilon_greedy),
        "ez_greedy": ez_greedy(q.actor(greedy), num_actions),
    }
    check_known("exploration", kind, actors)
    if noisy and kind != "epsilon_greedy":
        raise UsageError(
            "noisy = True explores by the noise of the weights alone: make it False, or leave out "
            f"exploration {kind!r}"
        )
    return actors[kind]
