"""How well each member of a population does: the mean return of full episodes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.training.evaluation import episodes
from rljax.training.faults import are_finite
from rljax.types import Agent, Key, State

SELECTION_STREAM = 0x5E1EC7  # keeps the keys of selection apart from those of training


def selection_key(states: State) -> Key:
    """A key for what is decided about all members here and now; their own streams go on as before.

    It comes from the first member's key, which training renews in every iteration.
    """
    return jax.random.fold_in(collectives.members(states.key)[0], SELECTION_STREAM)


def fitness(
    agent: Agent, num_episodes: int, deterministic: bool
) -> Callable[[State, Key], tuple[jax.Array, jax.Array]]:
    """The function from the states of members of `agent` and a key to returns and steps, [P] each.

    Returns are means of `num_episodes` full episodes, steps those of the environment that they
    took. All members meet the same beginnings and the same chances, so that luck decides less
    between them. The return is NaN for a member that is not finite, or whose return is not.
    """
    play = episodes(agent, num_episodes, deterministic)

    def measure(states: State, key: Key) -> tuple[jax.Array, jax.Array]:
        result = jax.vmap(play, (0, None))(states, key)
        returns = result.returns.mean(-1)
        parts = are_finite((states.learner, states.worker.obs, states.worker.update_state), 1)
        sound = jax.tree.reduce(jnp.logical_and, parts) & jnp.isfinite(returns)
        return jnp.where(sound, returns, jnp.nan), result.lengths.sum(-1)

    return measure


def worst_first(fitness: jax.Array) -> jax.Array:
    """Members [P] by their fitness, those without one in front; of equals the first in front."""
    return jnp.argsort(jnp.where(jnp.isnan(fitness), -jnp.inf, fitness), stable=True)
