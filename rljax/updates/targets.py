"""Estimators: updates that annotate the batch for a fitter behind them."""

from collections.abc import Callable

import jax

from rljax.ops.returns import explained_variance, generalized_advantage
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
