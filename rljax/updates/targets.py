"""Estimators: updates that annotate the batch for a fitter behind them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rljax import devices
from rljax.ops.returns import explained_variance, generalized_advantage
from rljax.ops.td import discounted_returns, n_step_returns
from rljax.types import Batch, Carry, Key, Obs, Params, Update
from rljax.updates.chain import stateless

Value = Callable[[Params, Obs, Carry], tuple[jax.Array, Carry]]


def gae(value: Value, gamma, gae_lambda) -> Update:
    """Annotate the batch with generalised advantages (`ops.generalized_advantage`).

    Reads obs, next_obs, reward, terminated, truncated and extras carry. Writes value, advantage
    and target (advantage + value), each [T, N]; metric `losses/explained_variance`.
    `value(params, obs, carry) -> (values, carry)` takes any leading axes: the memory stored with
    each step makes one parallel call out of what would be a loop.
    """

    def apply(params: Params, batch: Batch, key: Key):
        values, carry = value(params, batch.obs, batch.extras["carry"])
        next_values, _ = value(params, batch.next_obs, carry)
        advantage = generalized_advantage(
            batch.reward,
            values,
            next_values,
            batch.terminated,
            batch.truncated,
            gamma,
            gae_lambda,
        )
        target = advantage + values
        metrics = {"losses/explained_variance": explained_variance(values, target)}
        return batch.annotate(value=values, advantage=advantage, target=target), metrics

    return stateless(apply)


def n_step_advantage(value: Value, gamma, n: int) -> Update:
    """Annotate the batch with n-step returns minus values.

    Reads and writes what `gae` does. A return reaches over n steps, or to the end of the episode or
    of the rollout where that comes first, and bootstraps there (never at a termination).

    Source: Mnih et al. 2016, section 4, https://arxiv.org/abs/1602.01783.
    """

    def apply(params: Params, batch: Batch, key: Key):
        values, carry = value(params, batch.obs, batch.extras["carry"])
        next_values, _ = value(params, batch.next_obs, carry)
        reward, discount, last = n_step_returns(
            batch.reward, batch.terminated, batch.truncated, gamma, n
        )
        target = reward + discount * jnp.take_along_axis(next_values, last, axis=0)
        metrics = {"losses/explained_variance": explained_variance(values, target)}
        return batch.annotate(value=values, advantage=target - values, target=target), metrics

    return stateless(apply)


def rewards_to_go(gamma) -> Update:
    """Annotate the batch with the discounted reward that followed each step, as its advantage.

    Only steps whose episode ends within the batch count: the others weigh nothing, and these the
    more, so that a mean over the batch is one over them. Reads reward, terminated and truncated.
    Writes advantage [T, N]; metric `losses/complete`, the fraction of steps that count.
    """

    def apply(params: Params, batch: Batch, key: Key):
        returns, complete = discounted_returns(
            batch.reward, batch.terminated, batch.truncated, gamma
        )
        fraction = devices.mean(jnp.mean(complete.astype(jnp.float32)))
        one_step = 1 / (complete.size * devices.count())
        advantage = returns * complete / jnp.maximum(fraction, one_step)
        return batch.annotate(advantage=advantage), {"losses/complete": fraction}

    return stateless(apply)
