"""What is learnt from games that a search played against itself (AlphaZero)."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import entr

from rljax import collectives
from rljax.envs.states import without_state
from rljax.networks import ActorCritic
from rljax.networks.distributions import Distribution
from rljax.types import Batch, HasSymmetries, Key, MaskedObs, Metrics, Obs, Params, Update
from rljax.updates.composition import stateless


def without_states() -> Update:
    """Take the state of the environment out of observations, for those who look ahead no more.

    Replaces obs and next_obs, of fresh experience or of a sample.
    """

    def apply(params: Params, batch: Batch, key: Key):
        return replace(
            batch, obs=without_state(batch.obs), next_obs=without_state(batch.next_obs)
        ), {}

    return stateless(apply)


def value_target(actor_critic: ActorCritic) -> Update:
    """Annotate the batch with what the present value function makes of its rewards.

    Reads reward, next_obs and discount (from `n_step`), of fresh experience or of a sample. Writes
    target [T, N]: reward + discount x the value of next_obs. Behind `n_step(-1.0, n)`, which counts
    every second reward of a game the other way, a target is the outcome for who moved, where the
    game ended within n moves.

    Source: Silver et al. 2018, https://doi.org/10.1126/science.aar6404.
    """

    def apply(params: Params, batch: Batch, key: Key):
        after, _ = actor_critic.value(params, batch.next_obs, ())
        target = batch.reward + batch.extras["discount"] * after
        return batch.annotate(target=jax.lax.stop_gradient(target)), {}

    return stateless(apply)


def symmetric(env: HasSymmetries) -> Update:
    """Show each step of a sample as if its board had been turned or mirrored, by chance.

    Reads and replaces obs and search_policy [K, B, A]. What a step led to stays as it is: the value
    of a board is that of the turned one.

    Source: Silver et al. 2017, methods, https://doi.org/10.1038/nature24270.
    """

    def turned(way: jax.Array, obs: Obs, search_policy: jax.Array):
        actions = env.actions_from(way)
        if isinstance(obs, MaskedObs):
            obs = MaskedObs(env.seen_from(way, obs.obs), obs.legal[actions])
        else:
            obs = env.seen_from(way, obs)
        return obs, search_policy[actions]

    def apply(params: Params, batch: Batch, key: Key):
        bits = jax.vmap(jax.vmap(jax.random.bits))(collectives.row_keys(key, *batch.reward.shape))
        ways = (bits % env.symmetries).astype(jnp.int32)
        seen = jax.vmap(jax.vmap(turned))(ways, batch.obs, batch.extras["search_policy"])
        obs, search_policy = seen
        return replace(batch, obs=obs).annotate(search_policy=search_policy), {}

    return stateless(apply)


def search_policy_loss(
    pi: Distribution, outputs: jax.Array, batch: Batch
) -> tuple[jax.Array, Metrics]:
    """The cross-entropy [T, N] of a policy with what a search made of it.

    For `actor_critic_loss`. Reads search_policy [T, N, A]; reports `losses/search_kl`, in nats: how
    far the policy is from the search.

    Source: Silver et al. 2018, https://doi.org/10.1126/science.aar6404.
    """
    found = batch.extras["search_policy"]
    cross_entropy = optax.softmax_cross_entropy(outputs, found)
    entropy = jnp.sum(entr(found), axis=-1)
    return cross_entropy, {"losses/search_kl": jnp.mean(cross_entropy - entropy)}
