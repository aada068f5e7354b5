"""Exploration that goes on for several steps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rljax import ops
from rljax.actors.carries import with_carry_beside
from rljax.actors.policies import uniform_action
from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions
from rljax.types import Actor, Carry, Hparams, Key, Obs, Params

LONGEST = 1000  # steps of an option; with an exponent of 2, fewer than one in 1000 would take more


class Option(NamedTuple):
    """What an environment is exploring with: one action, for some more steps."""

    action: jax.Array  # [N] int32, or [N, M] of several agents
    steps_left: jax.Array  # the same, 0 where none is in force


def ez_greedy(
    actor: Actor, epsilon: Callable[[Hparams, jax.Array], jax.Array], space: spaces.Discrete
) -> Actor:
    """`actor`, interrupted by options: an action sampled uniformly, repeated for a random time.

    Where no option is in force, one begins with probability `epsilon(hparams, progress)`, so a
    larger part of the steps than that explores. How many steps it takes is zeta-distributed, the
    probability of n in proportion to n^-`duration_exponent`; were it always one, this would be
    epsilon-greedy. The option stands beside the carry of `actor`, so it ends with its episode; it
    also ends where its action is illegal.

    Source: Dabney et al. 2021, algorithm 1, https://arxiv.org/abs/2006.01782.
    """

    def policy(hparams: Hparams, progress: jax.Array):
        exploit = actor.policy(hparams, progress)
        probability = epsilon(hparams, progress)

        def act(params: Params, obs: Obs, carry: tuple[Carry, Option], key: Key):
            inner, option = carry
            key_exploit, key_begin, key_action, key_steps = jax.random.split(key, 4)
            best, extras, inner = exploit(params, obs, inner, key_exploit)
            option = _while_legal(option, legal_actions(obs))
            idle = option.steps_left == 0
            begins = idle & jax.random.bernoulli(key_begin, probability, best.shape)
            sampled, _ = uniform_action(obs, space, key_action)
            steps = ops.sample_zeta(hparams.duration_exponent, LONGEST, best.shape, key_steps)
            action = jnp.where(begins, sampled, option.action)
            steps_left = jnp.where(begins, steps, option.steps_left)
            chosen = jnp.where(steps_left > 0, action, best)
            return chosen, extras, (inner, Option(action, jnp.maximum(steps_left - 1, 0)))

        return act

    def initial_carry(leading: tuple[int, ...]) -> tuple[Carry, Option]:
        # Two arrays: one buffer cannot be donated twice.
        shape = (*leading, *space.shape)
        option = Option(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))
        return actor.initial_carry(leading), option

    return Actor(
        actor.init,
        policy,
        lambda hparams: with_carry_beside(actor.mode(hparams)),
        initial_carry,
        with_carry_beside(actor.distribution),
    )


def _while_legal(option: Option, legal: jax.Array | None) -> Option:
    """The option, ended where its action is not among the legal ones, bool [..., A] or None."""
    if legal is None:
        return option
    allowed = jnp.take_along_axis(legal, option.action[..., None], axis=-1)[..., 0]
    return option._replace(steps_left=jnp.where(allowed, option.steps_left, 0))
