"""Who plans with a learnt model before it acts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rljax import ops
from rljax.actors.policies import random_policy
from rljax.actors.tree_search import Found, Node, SearchHparams, check_search, search
from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions
from rljax.hparams import fraction, non_negative
from rljax.networks import LatentModel
from rljax.types import Action, Actor, Carry, Key, Obs, Params, Policy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LatentSearchHparams(SearchHparams):
    """The hyperparameters of searches in a learnt model, while it learns."""

    gamma: float = fraction(0.997)
    """Discount per step."""
    temperature_end: float = non_negative(0.25)
    """Of "puct": the temperature at the end of the schedule; it changes in a line."""


Search = Callable[..., Found]
"""(hparams, params, observations [N, ...], key, best=False) to what a search finds there."""


def latent_search(model: LatentModel, kind: str, num_simulations: int, **options: Any) -> Search:
    """A search from observations, in the states of a learnt model.

    Actions that a mask forbids are no choice at the root. The model does not know of masks.

    Raises UsageError as `actors.search` does.

    Source: Schrittwieser et al. 2020, appendix B, https://arxiv.org/abs/1911.08265.
    """
    check_search(kind, num_simulations)

    def node(params: Params, state: jax.Array) -> Node:
        logits, value = model.predict(params, state)
        return Node(logits, model.head.q(value), state)

    def find(hparams: LatentSearchHparams, params: Params, obs: Obs, key: Key, best: bool = False):
        def imagine(params: Params, key: Key, action: Action, state: jax.Array):
            state, outputs = model.imagine(params, state, action)
            reward = model.head.q(outputs)
            return reward, jnp.full_like(reward, hparams.gamma), node(params, state)

        root = node(params, model.represent(params, obs))._replace(legal=legal_actions(obs))
        return search(
            params,
            key,
            root,
            imagine,
            hparams,
            num_simulations=num_simulations,
            kind=kind,
            best=best,
            **options,
        )

    return find


def searching_actor(model: LatentModel, find: Search) -> Actor:
    """Acts as a search says, and records search_policy [N, A].

    Its mode is the search's best action, without noise.
    """

    def policy(hparams: LatentSearchHparams, progress: jax.Array) -> Policy:
        temperature = ops.linear_schedule(
            hparams.temperature, hparams.temperature_end, progress, 1.0
        )
        acting = partial(find, replace(hparams, temperature=temperature))

        def act(params: Params, obs: Obs, carry: Carry, key: Key):
            found = acting(params, obs, key)
            return found.action, {"search_policy": found.weights}, carry

        return act

    def mode(hparams: LatentSearchHparams):
        def best(params: Params, obs: Obs, carry: Carry):
            return find(hparams, params, obs, jax.random.key(0), best=True).action, carry

        return best

    return Actor(model.init, policy, mode)


def random_searcher(space: spaces.Discrete) -> Policy:
    """Actions of `random_policy`; records what `searching_actor` does, without a search.

    Its search_policy is uniform over legal actions.
    """
    at_random = random_policy(space)

    def act(params: Params, obs: Obs, carry: Carry, key: Key):
        action, recorded, carry = at_random(params, obs, carry, key)
        legal = legal_actions(obs)
        weights = jnp.ones((*action.shape, space.n)) if legal is None else legal
        weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
        return action, {**recorded, "search_policy": weights}, carry

    return act
