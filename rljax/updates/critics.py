"""Critics of a policy: what they should say of an action, and the loss that makes them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.envs import spaces
from rljax.errors import check_at_most
from rljax.networks import ActorAndCritics, Choices, ValueHead
from rljax.types import Batch, Key, Metrics, Obs, Params, Update, UpdateState
from rljax.updates.composition import stateless
from rljax.updates.optimization import Loss
from rljax.updates.td import annotate_target, td_loss

Choose = Callable[[Params, Obs, Key], Choices]
"""(params, observations [T, N, ...], key) to what a policy may do there."""

Pool = Callable[[ValueHead, jax.Array], jax.Array]
"""(value head, estimates [E, ..., K, *shape] of E critics) to one estimate [..., K, *shape]."""

Temperature = Callable[[Params], jax.Array]
"""Parameters to the reward [] for a nat of entropy."""


def smallest(head: ValueHead, estimates: jax.Array) -> jax.Array:
    """Of each action, the estimate of the critic that values it least.

    Source: Fujimoto et al. 2018, eq. 10 (clipped double Q-learning),
    https://arxiv.org/abs/1802.09477.
    """
    values = head.q(estimates)
    least = jnp.argmin(values, axis=0).reshape(1, *values.shape[1:], *[1] * len(head.shape))
    return jnp.take_along_axis(estimates, least, axis=0)[0]


def without_largest(dropped: int) -> Pool:
    """The quantiles of all critics, sorted, without the largest: `dropped` of each critic.

    Of estimates [E, ..., K, M] that is [..., K, E (M - dropped)], for head "qr".

    Source: Kuznetsov et al. 2020, eq. 11 and 12, https://arxiv.org/abs/2005.04269.
    """

    def pool(head: ValueHead, estimates: jax.Array) -> jax.Array:
        critics, quantiles = len(estimates), estimates.shape[-1]
        check_at_most("dropped", dropped, "the quantiles of a critic - 1", quantiles - 1)
        together = jnp.moveaxis(estimates, 0, -2)
        together = together.reshape(*together.shape[:-2], critics * quantiles)
        # The smallest, in order: on a CPU, up to three times as fast as to sort all of them.
        return -jax.lax.top_k(-together, critics * (quantiles - dropped))[0]

    return pool


def smoothed(ac: ActorAndCritics, std, clip) -> Choose:
    """The action of the target actor, with Gaussian noise: target policy smoothing.

    In a Discrete space it is a sample of a relaxed policy, and there is no other noise.

    Args:
        ac: a policy without noise, or a relaxed one, with a part "target_actor".
        std: standard deviation of the noise, for actions scaled to [-1, 1].
        clip: the largest size of the noise, on the same scale.

    Source: Fujimoto et al. 2018, eq. 14 and algorithm 1, https://arxiv.org/abs/1802.09477.
    """
    space = ac.space

    def choose(params: Params, obs: Obs, key: Key) -> Choices:
        key_choose, key_noise = jax.random.split(key)
        chosen = ac.choices(params, obs, key_choose, "target_actor")
        if not isinstance(space, spaces.Box):
            return chosen
        assert chosen.action is not None
        time, envs, *shape = chosen.action.shape
        keys = collectives.row_keys(key_noise, time, envs)
        normal = jax.vmap(jax.vmap(lambda k: jax.random.normal(k, shape)))(keys)
        noise = space.half_range * jnp.clip(std * normal, -clip, clip)
        return chosen._replace(action=jnp.clip(chosen.action + noise, space.low, space.high))

    return choose


def critic_target(
    ac: ActorAndCritics,
    choose: Choose,
    pool: Pool = smallest,
    num_critics: int | None = None,
    temperature: Temperature | None = None,
) -> Update:
    """Annotate the batch with r + discount x (what the target critics make of the next actions).

    Reads reward, next_obs and discount (from `n_step`), of a sample or of fresh experience. Writes
    target, [T, N] or, for a distribution, [T, N, M]; for a head with bounds also clipped [T, N],
    the part of each target beyond them.

    Args:
        ac: the critics, with a part "target_critic".
        choose: which actions the target assumes to come next.
        pool: how the estimates of several critics become one.
        num_critics: how many critics, sampled anew for each batch; all of them for None.
        temperature: the reward for a nat of the entropy of what comes next; None for no reward.

    Raises UsageError for more critics than there are.

    Source: Lillicrap et al. 2016, algorithm 1, https://arxiv.org/abs/1509.02971; with entropy
    Haarnoja et al. 2018, eq. 2 and 3, https://arxiv.org/abs/1812.05905; with all actions of a
    Discrete space Christodoulou 2019, eq. 10, https://arxiv.org/abs/1910.07207; a random subset of
    critics Chen et al. 2021 (REDQ), algorithm 1, https://arxiv.org/abs/2101.05982; of several
    agents Lowe et al. 2017, eq. 6, https://arxiv.org/abs/1706.02275.
    """

    def apply(params: Params, batch: Batch, key: Key):
        key_choose, key_which = jax.random.split(key)
        chosen = choose(params, batch.next_obs, key_choose)
        which = None
        if num_critics is not None:
            critics = len(jax.tree.leaves(params["target_critic"])[0])
            check_at_most("target_critics", num_critics, "num_critics", critics)
            which = jax.random.permutation(key_which, critics)[:num_critics]
        estimates = ac.estimate(params, batch.next_obs, chosen.action, "target_critic", which)
        return _with_target(ac, params, batch, chosen, pool(ac.value, estimates), temperature), {}

    return stateless(apply)


def _with_target(
    ac: ActorAndCritics,
    params: Params,
    batch: Batch,
    chosen: Choices,
    estimate: jax.Array,
    temperature: Temperature | None,
) -> Batch:
    """The batch with target, by one estimate [..., K, *shape] of the actions that come next."""
    after = ac.value.pick(estimate, chosen.probability)
    reward = batch.reward
    if temperature is not None:
        # As a reward it serves every head: a distribution of returns is shifted by it.
        bonus = temperature(params) * chosen.entropy
        reward = reward + batch.extras["discount"] * bonus
    return annotate_target(batch, ac.value, after, reward)


def critic_loss(ac: ActorAndCritics) -> Loss:
    """The distances of all critics from the target, summed over critics, a mean over the batch.

    Reads obs, action, target and, where something wrote them, weight (a replay) and clipped
    (`critic_target`), each [T, N]. Besides the metrics of `q_loss` it gives priority [T, N], the
    mean over critics, which `gradient` writes into the batch for a replay.
    """

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        return _distance(ac, batch, ac.estimate(params, batch.obs, batch.action))

    return loss


def _distance(ac: ActorAndCritics, batch: Batch, estimates: jax.Array) -> tuple[jax.Array, Metrics]:
    """The loss and the metrics of estimates [E, T, N, K, *shape] of what was observed and done."""
    chosen = ac.value.pick(estimates, ac.taken(batch))
    target = batch.extras["target"]
    target = jnp.broadcast_to(target, (len(chosen), *target.shape))
    losses, priorities = ac.value.loss(chosen, target)
    values = jnp.mean(ac.value.q(chosen))
    return td_loss(batch, jnp.sum(losses, axis=0), jnp.mean(priorities, axis=0), values)


def joint_critic_loss(
    ac: ActorAndCritics,
    choose: Choose,
    pool: Pool = smallest,
    temperature: Temperature | None = None,
) -> Loss:
    """`critic_target` and `critic_loss` in one, for critics that need no target network.

    What was done, and what is chosen next, pass the critics together. So critics with normalised
    batches see both as one distribution, which is what makes them stable. No gradient reaches the
    target.

    Reads obs, action, reward, next_obs, discount (from `n_step`) and, where a replay wrote it,
    weight, each [T, N]. Gives what `critic_loss` gives, and batch_statistics, the running ones
    then, for the update of that name.

    Args:
        ac: the critics; there need be no part "target_critic".
        choose: which actions the target assumes to come next.
        pool: how the estimates of several critics become one.
        temperature: the reward for a nat of the entropy of what comes next; None for no reward.

    Source: Bhatt et al. 2024 (CrossQ), section 3, https://arxiv.org/abs/1902.05605.
    """

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        chosen = choose(params, batch.next_obs, key)

        def together(now, after):
            return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), now, after)

        obs = together(batch.obs, batch.next_obs)
        action = None if chosen.action is None else together(batch.action, chosen.action)
        estimates, statistics = ac.trained_estimate(params, obs, action)
        now, after = jnp.split(estimates, 2, axis=1)
        batch = _with_target(ac, params, batch, chosen, pool(ac.value, after), temperature)
        mean, metrics = _distance(ac, batch, now)
        return mean, {**metrics, **statistics}

    return loss


def batch_statistics(part: str = "critic") -> Update:
    """Put the running statistics of normalised batches where a loss found them to be.

    Reads batch_statistics (from `joint_critic_loss`), and changes that part of the parameters.
    """

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        moved = {**params[part], "batch_statistics": batch.extras["batch_statistics"]}
        return {**params, part: moved}, state, batch, {}

    return Update(lambda params, key: (), apply)
