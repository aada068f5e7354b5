"""Who looks ahead with an environment's own step, which is pure and so its own simulator."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from rljax.actors.policies import uniform_action
from rljax.actors.tree_search import Found, Model, Node, search
from rljax.envs import autoreset
from rljax.envs.action_masks import legal_actions
from rljax.envs.states import state_of
from rljax.types import (
    Actor,
    Carry,
    Environment,
    EnvState,
    Hparams,
    Key,
    Obs,
    Params,
    TwoPlayerGame,
)

Estimate = Callable[[Params, Key, EnvState, Obs, jax.Array], tuple[jax.Array, jax.Array]]
"""(params, key, states [M, ...], observations [M, ...], whether they have ended [M]) to logits
[M, A] of a prior policy and values [M] of going on from there."""


def playouts(env: Environment, steps: int, gamma: float | jax.Array) -> Estimate:
    """Estimates by one episode of random legal actions, at most so many steps long; no prior.

    Source: Kocsis and Szepesvari 2006, https://doi.org/10.1007/11871842_29.
    """

    def estimate(params: Params, key: Key, states: EnvState, obs: Obs, ended: jax.Array):
        def goes_on(loop):
            step, *_, over, _ = loop
            return (step < steps) & ~jnp.all(over)

        def advance(loop):
            step, states, obs, total, factor, over, key = loop
            key, key_act, key_env = jax.random.split(key, 3)
            action, _ = uniform_action(obs, env.action_space, key_act)
            states, obs, reward, terminated, _ = _step_all(env, key_env, states, action)
            total = total + jnp.where(over, 0.0, factor * reward)
            return step + 1, states, obs, total, factor * sign(env) * gamma, over | terminated, key

        nothing = jnp.zeros(ended.shape)
        loop = (jnp.int32(0), states, obs, nothing, jnp.float32(1), ended, key)
        _, _, _, total, *_ = jax.lax.while_loop(goes_on, advance, loop)
        return jnp.zeros((*ended.shape, env.action_space.n)), total

    return estimate


def true_model(
    env: Environment, estimate: Estimate, gamma: float | jax.Array, samples: int = 1
) -> tuple[Callable[[Params, Key, Obs], Node], Model]:
    """From observations of `env`, a `WithState`, to roots, and the model that goes on from there.

    A node holds `samples` copies of the state, which take the same actions and are apart by chance:
    what a search is told is their mean. So in a stochastic environment it looks for actions that
    are good on average, not for luck. Copies that have ended are paid nothing any more. A
    truncation ends nothing: who looks ahead has a clock of its own.

    Source of open-loop search: Perez Liebana et al. 2015, https://doi.org/10.1145/2739480.2754811.
    """

    def node(params: Params, key: Key, states: EnvState, obs: Obs, ended: jax.Array) -> Node:
        """Of copies [N x K]."""
        logits, value = estimate(params, key, states, obs, ended)
        legal = legal_actions(obs)

        def of_roots(x: jax.Array) -> jax.Array:
            return x.reshape(-1, samples, *x.shape[1:])

        return Node(
            jnp.mean(of_roots(logits), axis=1),
            jnp.mean(of_roots(jnp.where(ended, 0.0, value)), axis=1),
            jax.tree.map(of_roots, (states, ended)),
            None if legal is None else jnp.any(of_roots(legal), axis=1),
        )

    def root(params: Params, key: Key, obs: Obs) -> Node:
        obs = jax.tree.map(lambda x: jnp.repeat(x, samples, axis=0), obs)
        states = state_of(obs)
        number = jax.tree.leaves(obs)[0].shape[0]
        return node(params, key, states, obs, jnp.zeros(number, bool))

    def model(params: Params, key: Key, action: jax.Array, here: Any):
        key_step, key_estimate = jax.random.split(key)
        states, ended = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), here)
        states, obs, reward, terminated, _ = _step_all(
            env, key_step, states, jnp.repeat(action, samples, axis=0)
        )
        reward = jnp.where(ended, 0.0, reward).reshape(-1, samples).mean(1)
        found = node(params, key_estimate, states, obs, ended | terminated)
        goes_on = ~jnp.all(found.state[1], axis=1)
        return reward, sign(env) * gamma * goes_on, found

    return root, model


def planning_actor(
    env: Environment,
    init: Callable[[Key], Params],
    estimate: Callable[[Hparams], Estimate],
    gamma: Callable[[Hparams], Any],
    *,
    num_simulations: int,
    kind: str,
    samples: int = 1,
    max_depth: int | None = None,
    exploring_steps: int | None = None,
    random_steps: int = 0,
    best_simulations: int | None = None,
) -> Actor:
    """Searches from each observation of `env`, a `WithState`; records search_policy [N, A].

    Its carry counts the steps of an episode, int32 [N].

    Args:
        init: makes the parameters that `estimate` reads.
        estimate: from hyperparameters to what values the leaves.
        gamma: from hyperparameters to the discount.
        num_simulations, kind, max_depth: of `search`.
        samples: of `true_model`.
        exploring_steps: after so many steps of an episode the best actions are taken; None for no
            such bound.
        random_steps: each of so many first steps of an episode is random with probability 1/2.
        best_simulations: budget of the best actions; None for `num_simulations`.
    """

    def look(hparams: Hparams, params: Params, obs: Obs, key: Key, best: bool) -> Found:
        key_root, key_search = jax.random.split(key)
        root, model = true_model(env, estimate(hparams), gamma(hparams), samples)
        return search(
            params,
            key_search,
            root(params, key_root, obs),
            model,
            hparams,
            num_simulations=(best and best_simulations) or num_simulations,
            kind=kind,
            best=best,
            max_depth=max_depth,
        )

    def policy(hparams: Hparams, progress: jax.Array):
        def act(params: Params, obs: Obs, carry: Carry, key: Key):
            if exploring_steps is None:
                now = hparams
            else:
                explores = (carry < exploring_steps)[:, None]
                now = replace(
                    hparams,
                    temperature=jnp.where(explores, hparams.temperature, 0.0),
                    gumbel_scale=jnp.where(explores, hparams.gumbel_scale, 0.0),
                )
            found = look(now, params, obs, key, best=False)
            action = found.action
            if random_steps:
                key_random, key_action = jax.random.split(jax.random.fold_in(key, 1))
                random = jax.random.bernoulli(key_random, shape=carry.shape)
                drawn, _ = uniform_action(obs, env.action_space, key_action)
                action = jnp.where(random & (carry < random_steps), drawn, action)
            return action, {"search_policy": found.weights}, carry + 1

        return act

    def mode(hparams: Hparams):
        def act(params: Params, obs: Obs, carry: Carry):
            # Chance of its own in each step, and the same in each evaluation.
            key = jax.random.fold_in(jax.random.key(0), jnp.sum(carry))
            return look(hparams, params, obs, key, best=True).action, carry + 1

        return act

    return Actor(init, policy, mode, lambda leading: jnp.zeros(leading, jnp.int32))


def sign(env: Environment) -> float:
    """What the value of a next state counts for who moves: the other way where players take turns.

    -1 or 1.
    """
    return -1.0 if isinstance(env, TwoPlayerGame) else 1.0


def _step_all(env: Environment, key: Key, states: EnvState, actions: jax.Array):
    """One step of each of M environments."""
    keys = jax.random.split(key, actions.shape[0])
    return jax.vmap(lambda k, state, action: autoreset.step(env, k, state, action))(
        keys, states, actions
    )
