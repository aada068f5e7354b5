"""Who acts by a policy: a learnt one, or the uniform one that fills a replay buffer."""

import jax
import jax.numpy as jnp
import numpy as np

from rljax import ops
from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions
from rljax.errors import UsageError
from rljax.networks import ActorCritic
from rljax.types import Actor, Key, Obs, Policy


def policy_actor(actor_critic: ActorCritic) -> Actor:
    """Samples from the policy, and records raw_action and log_prob; its mode is the policy's."""
    return Actor(
        actor_critic.net.init,
        lambda hparams, progress: actor_critic.policy,
        lambda hparams: actor_critic.mode,
        actor_critic.net.initial_carry,
        actor_critic.distribution,
    )


def random_policy(space: spaces.Space) -> Policy:
    """Actions [N, ...] of any space, whatever is observed; records log_prob.

    Its log-probabilities are [N] of a Box, and of a Discrete space [N, *shape].
    They are uniform over the legal actions of a Discrete space and within the bounds of a Box;
    where a side of a Box has no bound, standard Gaussian around 0, or around the bound it has,
    folded to the right side.
    Raises UsageError for a space of actions that is neither.
    """
    if isinstance(space, spaces.Discrete):

        def discrete(params, obs, carry, key: Key):
            action, number = uniform_action(obs, space, key)
            return action, {"log_prob": -jnp.log(number)}, carry

        return discrete
    if not isinstance(space, spaces.Box):
        raise UsageError(f"there is no random policy for actions of {spaces.describe(space)}")
    low, high = space.low, space.high
    bounded = np.isfinite(low) & np.isfinite(high)
    below, above = np.isfinite(low) & ~bounded, np.isfinite(high) & ~bounded
    # Halved first, because the difference of the largest floats is infinite.
    half = np.where(bounded, np.where(bounded, high, 0) / 2 - np.where(bounded, low, 0) / 2, 1.0)

    def box(params, obs, carry, key: Key):
        leading = jax.tree.leaves(obs)[0].shape[:1]
        key_uniform, key_normal = jax.random.split(key)
        unit = jax.random.uniform(key_uniform, (*leading, *space.shape))
        normal = jax.random.normal(key_normal, (*leading, *space.shape))
        size = jnp.abs(normal)
        free = jnp.where(below, low + size, jnp.where(above, high - size, normal))
        action = jnp.where(bounded, jnp.clip(low + 2 * half * unit, low, high), free)
        log_normal = -0.5 * jnp.square(normal) - 0.5 * np.log(2 * np.pi)
        log_free = jnp.where(below | above, log_normal + np.log(2), log_normal)
        log_density = jnp.where(bounded, -np.log(2 * half), log_free)
        axes = tuple(range(1, log_density.ndim))
        recorded = {"log_prob": jnp.sum(log_density, axis=axes)}
        return action.astype(space.dtype), recorded, carry

    return box


def uniform_action(obs: Obs, space: spaces.Discrete, key: Key) -> tuple[jax.Array, jax.Array]:
    """Legal actions int32 [N, *shape], all equally likely, and how many there are, float32.

    Consumes the key.
    """
    legal = legal_actions(obs)
    if legal is None:
        shape = (*jax.tree.leaves(obs)[0].shape[:1], *space.shape)
        action = jax.random.randint(key, shape, 0, space.n)
        return action, jnp.full(shape, space.n, jnp.float32)
    number = jnp.sum(legal, axis=-1, dtype=jnp.float32)
    return ops.sample(legal / number[..., None], key), number


def with_random_actions(policy: Policy, space: spaces.Space) -> Policy:
    """`policy`, but with the actions of `random_policy`.

    The carry of `policy` still advances, and its extras are still recorded.
    """
    at_random = random_policy(space)

    def act(params, obs, carry, key: Key):
        key_policy, key_action = jax.random.split(key)
        _, extras, after = policy(params, obs, carry, key_policy)
        action, recorded, _ = at_random(params, obs, carry, key_action)
        return action, {**extras, **recorded}, after

    return act
