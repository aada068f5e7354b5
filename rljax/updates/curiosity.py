"""Intrinsic rewards: estimators of how new a step is, each with what it needs to find out."""

import jax
import jax.numpy as jnp
import optax

from rljax import collectives
from rljax.networks.curiosity import Dynamics, Numbered, RandomDistillation
from rljax.types import Batch, Key, Metrics, Params, Update, UpdateState
from rljax.updates.composition import chain, stateless, with_own_parameters
from rljax.updates.minibatches import epochs
from rljax.updates.normalization import observation_statistics, reward_scaling
from rljax.updates.optimization import gradient

REWARD = "intrinsic_reward"


def counts(states: Numbered, num_actions: int) -> Update:
    """Annotate the batch with rewards for actions that have seldom been tried.

        1 / sqrt(how often the action was taken in such a state, so far)

    Reads obs and action of fresh experience; writes intrinsic_reward [T, N]. The counts are of all
    environments, this batch included.

    Args:
        states: numbers of observations, as `networks.numbered` makes them.
        num_actions: A, of a Discrete space.

    Source: Strehl and Littman 2008, eq. 5, https://doi.org/10.1016/j.jcss.2007.08.009; with hashes
    Tang et al. 2017, eq. 1, https://arxiv.org/abs/1611.04717.
    """

    def init(params: Params, key: Key) -> UpdateState:
        return jnp.zeros((states.size, num_actions))

    def apply(params: Params, visits: UpdateState, batch: Batch, key: Key):
        tried = states.number(batch.obs), batch.action
        new = jnp.zeros_like(visits).at[tried].add(1.0)
        visits = visits + collectives.psum(new)
        batch = batch.annotate(**{REWARD: jax.lax.rsqrt(visits[tried])})
        return params, visits, batch, _reported(batch)

    return Update(init, apply)


def rnd(
    networks: RandomDistillation,
    gamma,
    optimizer: optax.GradientTransformation,
    num_minibatches: int = 1,
) -> Update:
    """Annotate the batch with rewards for observations that a network cannot predict yet: RND.

    The reward is the error with which a network predicts what a random network makes of next_obs,
    divided by the running standard deviation of its discounted returns, which do not end with
    episodes. Then the network learns from the batch, in one pass over it. Observations are
    normalised by running statistics, which know this batch.

    Reads obs and next_obs of fresh experience; writes intrinsic_reward [T, N], and rnd_target
    [T, N, size], what is to be predicted.

    Args:
        networks: as `networks.random_distillation` makes them.
        gamma: discount per step of intrinsic rewards.
        optimizer: of the network that predicts.
        num_minibatches: parts of the batch, one gradient step each.

    Source: Burda et al. 2019, sections 2.2 and 2.4, https://arxiv.org/abs/1810.12894. There,
    observations are clipped to [-5, 5], and here to [-10, 10], as elsewhere.
    """

    def estimate(params: Params, batch: Batch, key: Key):
        target = networks.target(params, batch.next_obs)
        error = networks.error(params, batch.next_obs, target)
        batch = batch.annotate(rnd_target=target, **{REWARD: error})
        return batch, _reported(batch)

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        target = batch.extras["rnd_target"]
        mean = jnp.mean(networks.error(params, batch.next_obs, target))
        return mean, {"losses/rnd_loss": mean}

    return with_own_parameters(
        networks.init,
        chain(
            observation_statistics(networks.encode),
            stateless(estimate),
            reward_scaling(gamma, reward=REWARD, episodic=False),
            epochs(gradient(loss, optimizer, part="predictor"), 1, num_minibatches),
        ),
    )


def icm(
    networks: Dynamics,
    optimizer: optax.GradientTransformation,
    forward_weight=0.2,
    num_minibatches: int = 1,
) -> Update:
    """Annotate the batch with rewards for steps that a model cannot predict yet: ICM.

    The reward is the error of a forward model of features. Features are learnt such that the action
    can be told from those before and after a step, so they hold what the agent can change. Then
    all networks learn from the batch, in one pass over it.

    Reads obs, action and next_obs of fresh experience; writes intrinsic_reward [T, N].

    Args:
        networks: as `networks.dynamics` makes them.
        optimizer: of all of them.
        forward_weight: weight of the forward model's loss, that of the inverse model being 1 less
            it.
        num_minibatches: parts of the batch, one gradient step each.

    Source: Pathak et al. 2017, eq. 5 to 7, https://arxiv.org/abs/1705.05363.
    """

    def estimate(params: Params, batch: Batch, key: Key):
        batch = batch.annotate(**{REWARD: networks.errors(params, batch)[0]})
        return batch, _reported(batch)

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        forward, inverse = (jnp.mean(error) for error in networks.errors(params, batch))
        total = forward_weight * forward + (1 - forward_weight) * inverse
        return total, {"losses/icm_forward_loss": forward, "losses/icm_inverse_loss": inverse}

    fit = epochs(gradient(loss, optimizer), 1, num_minibatches)
    return with_own_parameters(networks.init, chain(stateless(estimate), fit))


def bonus(coef) -> Update:
    """Add intrinsic rewards to rewards: reward + coef x intrinsic_reward.

    Reads reward and intrinsic_reward [T, N], and replaces reward. Returns that are reported, and
    those of evaluations, stay as the environment gives them.
    """

    def apply(params: Params, batch: Batch, key: Key):
        return batch.put("reward", batch.reward + coef * batch.extras[REWARD]), {}

    return stateless(apply)


def _reported(batch: Batch) -> Metrics:
    """The mean of the intrinsic rewards, and how many are not finite, which stops training."""
    reward = batch.extras[REWARD]
    bad = jnp.sum(~jnp.isfinite(reward), dtype=jnp.float32)
    return {"charts/intrinsic_reward": jnp.mean(reward), "nonfinite/intrinsic_reward": bad}
