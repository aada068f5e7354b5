"""Running statistics as updates."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.errors import UsageError
from rljax.networks import RunningStatistics
from rljax.networks.network import Features
from rljax.networks.normalization import Statistics
from rljax.types import Batch, Key, Obs, Params, PerEnvironment, Update, UpdateState
from rljax.updates.composition import stateless


def merge(statistics: Statistics, features: Features) -> Statistics:
    """Statistics with a batch of features [..., F] added, each part's with its own.

    Source: Chan, Golub and LeVeque 1983, eq. 2.1, https://doi.org/10.1080/00031305.1983.10483115.
    """
    if isinstance(features, dict):
        return {name: merge(statistics[name], part) for name, part in features.items()}
    axes = tuple(range(features.ndim - statistics.mean.ndim))
    size = jnp.float32(features.size / statistics.mean.size * collectives.count())
    count = statistics.count + size
    mean = collectives.pmean(jnp.mean(features, axes))
    variance = collectives.pmean(jnp.mean(jnp.square(features - mean), axes))
    difference = mean - statistics.mean
    weight = size / count
    return RunningStatistics(
        mean=statistics.mean + difference * weight,
        variance=(
            (1 - weight) * statistics.variance
            + weight * variance
            + weight * (1 - weight) * jnp.square(difference)
        ),
        count=count,
    )


def observation_statistics(encode: Callable[[Obs], Features], *part: str) -> Update:
    """Add the batch's observations to `params["statistics"]` of a normalised network.

    With the names of a part, and of one in it, to those of that part of the parameters. Reads obs
    of fresh experience. In a chain, put it last: everything before it then sees the statistics that
    the rollout used.
    """

    def merged(params: Params, obs: Obs, names: tuple[str, ...]) -> Params:
        if names:
            return {**params, names[0]: merged(params[names[0]], obs, names[1:])}
        return {**params, "statistics": merge(params["statistics"], encode(obs))}

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        return merged(params, batch.obs, part), state, batch, {}

    return Update(lambda params, key: (), apply)


def target_statistics() -> Update:
    """Add the batch's targets to `params["targets"]` of `networks.with_normalized_values`.

    Reads target of fresh experience, [T, N] or [T, N, M]. Writes value_scale, of that shape: the
    inverse of the deviation of all targets, by which a value loss multiplies values and targets.

    Source: Yu et al. 2022, section 5.1, https://arxiv.org/abs/2103.01955.
    """

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        target = batch.extras["target"]
        statistics = merge(params["targets"], target)
        scale = jax.lax.rsqrt(statistics.variance + 1e-8)
        batch = batch.annotate(value_scale=jnp.broadcast_to(scale, target.shape))
        return {**params, "targets": statistics}, state, batch, {}

    return Update(lambda params, key: (), apply)


def scaled_rewards(factor) -> Update:
    """Multiply rewards by a constant.

    Reads and replaces reward [T, N]. Returns that are reported, and those of evaluations, stay as
    the environment gives them.
    """

    def apply(params: Params, batch: Batch, key: Key):
        return replace(batch, reward=factor * batch.reward), {}

    return stateless(apply)


def reward_scaling(gamma, *, reward: str = "reward", episodic: bool = True) -> Update:
    """Divide rewards by the running standard deviation of discounted returns.

    Reads and replaces reward [T, N], or the extra of another name, and reads terminated and
    truncated [T, N], of fresh experience. Where it is not `episodic`, returns go on from one
    episode to the next. Each environment keeps the discounted sum of its rewards since its episode
    began. Returns that are reported, and those of evaluations, stay as the environment gives them.
    Nothing is clipped: where rewards are rare, the first ones are large.

    Raises UsageError for rewards of several agents.

    >>> import rljax
    >>> first = rljax.updates.reward_scaling(0.99)
    >>> agent = rljax.ppo(rljax.make("Pendulum-v1"), first=first)

    Source: Engstrom et al. 2020, section 3, https://arxiv.org/abs/2005.12729.
    """

    def init(params: Params, key: Key) -> UpdateState:
        statistics = RunningStatistics(jnp.float32(0), jnp.float32(1), jnp.float32(0))
        return statistics, PerEnvironment(jnp.float32(0))

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        statistics, so_far = state
        rewards = batch.get(reward)
        if rewards.ndim != so_far.value.ndim + 1:
            raise UsageError(
                "reward_scaling is for one reward of each environment, not for those of several "
                "agents: use updates.scaled_rewards"
            )

        def step(so_far: jax.Array, inputs):
            reward_t, done = inputs
            total = gamma * so_far + reward_t
            return jnp.where(done, 0.0, total), total

        ends = batch.done if episodic else jnp.zeros_like(batch.done)
        so_far, totals = jax.lax.scan(step, so_far.value, (rewards, ends))
        statistics = merge(statistics, totals)
        batch = batch.put(reward, rewards * jax.lax.rsqrt(statistics.variance + 1e-8))
        return params, (statistics, PerEnvironment(so_far)), batch, {}

    return Update(init, apply)
