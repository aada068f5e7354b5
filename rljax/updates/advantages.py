"""Estimators: updates that annotate the batch for a fitter behind them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.errors import UsageError, ceil_div, check_at_most, check_positive
from rljax.networks import ActorCritic, of_first_row
from rljax.ops.importance_weighting import vtrace as vtrace_targets
from rljax.ops.returns import explained_variance, generalized_advantage
from rljax.ops.td import discounted_returns, n_step_returns
from rljax.types import Batch, Carry, Key, Obs, Params, Update
from rljax.updates.composition import stateless

PARTS = 16  # of a batch; one of them is valued a second time, until no step is left
ROUNDING = 1e-3  # of a log-ratio: by less, no ratio of a policy to itself differs from 1
Value = Callable[..., tuple[Any, Carry]]
"""(params, obs [..., ...], carry [..., ...]) to (values [...], carry [..., ...]).

Where the actor carries anything, it also takes done [T, N] as a fourth argument. Then obs
[T, N, ...] are those of a rollout, and the carry [N, ...] is that before its first step."""


def values_seen(value: Value, params: Params, batch: Batch) -> jax.Array:
    """Values of what each step of a rollout saw, [T, N], or [T, N, M] where each is of M agents.

    What is carried begins as it is stored with the first step.
    """
    carry = batch.extras["carry"]
    done = (batch.done,) if jax.tree.leaves(carry) else ()
    return value(params, batch.obs, of_first_row(carry), *done)[0]


def values_ahead(value: Value, params: Params, batch: Batch, values: Any) -> Any:
    """What `value` makes of what each step led to, like `values` of what each step saw.

    What the end of a rollout, or a truncated step, led to is valued with the carry that is stored
    with that step, whoever acted.
    """
    stored = batch.extras["carry"]
    if any(len(x) != len(batch.reward) for x in jax.tree.leaves(stored)):
        raise UsageError(
            "advantages need the carry of each step, and a minibatch has that of its first step: "
            "let the estimator stand before `epochs`"
        )

    def ahead(obs: Obs, next_obs: Obs, carry: Carry) -> Any:
        _, carry = value(params, obs, carry)
        return value(params, next_obs, carry)[0]

    return led_to(ahead, batch.truncated, values, batch.obs, batch.next_obs, stored)


def led_to(value: Callable[..., Any], truncated: jax.Array, values: Any, *inputs: Any) -> Any:
    """What `value` makes of what each step led to, before any automatic reset, like `values`.

    Where an episode goes on, that is what the next step saw, and it is not worked out twice. Only
    the end of the batch and truncated steps are valued a second time. Where an episode terminated
    there is nothing to bootstrap from, and the number is arbitrary.

    Args:
        value: of what steps led to, from `inputs` over any leading axes.
        truncated: of consecutive steps [T, N].
        values: of what each step saw [T, N, ...].
        *inputs: of each step [T, N, ...].
    """
    end = value(*jax.tree.map(lambda x: x[-1:], inputs))
    flat = jax.tree.map(_steps, inputs)
    size = truncated.size
    few = ceil_div(size, PARTS)

    def value_some(loop):
        left, next_values = loop
        (rows,) = jnp.nonzero(left, size=few, fill_value=size)
        new = value(*jax.tree.map(lambda x: x.at[rows].get(mode="clip"), flat))
        next_values = jax.tree.map(lambda x, y: x.at[rows].set(y, mode="drop"), next_values, new)
        return left.at[rows].set(False, mode="drop"), next_values

    following = jax.tree.map(lambda x, y: _steps(jnp.concatenate([x[1:], y])), values, end)
    # Not one `cond(any truncated)`: under `vmap` it would value all steps twice for a population.
    _, following = jax.lax.while_loop(
        lambda loop: loop[0].any(),
        value_some,
        (_steps(truncated.at[-1].set(False)), following),
    )
    return jax.tree.map(lambda x, y: x.reshape(y.shape), following, values)


def _steps(x: jax.Array) -> jax.Array:
    """[T, N, ...] to [T x N, ...]."""
    return x.reshape(-1, *x.shape[2:])


def gae(
    value: Value,
    gamma,
    gae_lambda,
    *,
    reward: str = "reward",
    prefix: str = "",
    episodic: bool = True,
) -> Update:
    """Annotate the batch with generalised advantages (`ops.generalized_advantage`).

    Reads obs, next_obs, reward, terminated, truncated and extras carry of fresh experience. Writes
    value, advantage and target (advantage + value), each [T, N], or [T, N, M] where rewards and
    values are those of M agents; metric `losses/explained_variance`.
    `value(params, obs, carry) -> (values, carry)` takes any leading axes, and `done` as a fourth
    argument where the actor carries anything, as `ActorCritic.value` does. The steps of the batch
    are consecutive, as those of a rollout are. Raises UsageError within `epochs` if there is a
    carry: a minibatch has that of its first row alone.

    Args:
        value: what is learnt.
        gamma: discount per step.
        gae_lambda: how far advantages reach, from 0 (one step) to 1.
        reward: name of the field or extra that is the reward.
        prefix: what the names of the fields written, and of the metric, begin with.
        episodic: whether returns end with their episodes. If not, they go on in the episode that
            follows, as returns of intrinsic rewards may (Burda et al. 2019, section 2.3,
            https://arxiv.org/abs/1810.12894).
    """

    def apply(params: Params, batch: Batch, key: Key):
        steps = batch
        if not episodic:
            never = jnp.zeros_like(batch.terminated)
            steps = replace(batch, terminated=never, truncated=never)
        values = values_seen(value, params, batch)
        next_values = values_ahead(value, params, steps, values)
        advantage = generalized_advantage(
            batch.get(reward),
            values,
            next_values,
            steps.terminated,
            steps.truncated,
            gamma,
            gae_lambda,
        )
        target = advantage + values
        written = {"value": values, "advantage": advantage, "target": target}
        batch = batch.annotate(**{prefix + name: field for name, field in written.items()})
        return batch, {f"losses/{prefix}explained_variance": explained_variance(values, target)}

    return stateless(apply)


def vtrace(
    actor_critic: ActorCritic,
    gamma,
    lambda_=1.0,
    rho_clip=1.0,
    c_clip=1.0,
    pg_rho_clip=None,
    weighted: bool = True,
) -> Update:
    """Annotate the batch with V-trace targets and advantages (`ops.vtrace`).

    For experience of another policy than the one that learns, such as an earlier version of it.
    Reads obs, next_obs, reward, terminated, truncated and the extras carry, raw_action and
    log_prob of fresh experience. Writes value, advantage and target, each [T, N]. On-policy, with
    clips of at least 1, it is `gae`.

    Metrics are `losses/explained_variance`, `losses/rho`, the mean ratio of the two policies before
    it is clipped, and `losses/rho_clipped`, the fraction of ratios above `rho_clip`.

    Args:
        actor_critic: what learns; a recurrent one begins with the carry stored with the first step,
            which is that of the policy that acted.
        gamma: discount per step.
        lambda_: how far corrections reach, from 0 (one step) to 1.
        rho_clip: the most a step's own ratio counts.
        c_clip: the most a ratio counts for the steps before it.
        pg_rho_clip: `rho_clip` of the advantages; by default the same.
        weighted: whether advantages are weighted by the clipped ratio of their own step; False for
            a loss that has that ratio itself, as the surrogates of PPO do.

    Source: Espeholt et al. 2018, section 4, https://arxiv.org/abs/1802.01561.
    """

    def apply(params: Params, batch: Batch, key: Key):
        policy, _, values = actor_critic.unroll(params, batch)
        next_values = values_ahead(actor_critic.value, params, batch, values)
        log_ratio = policy.log_prob(batch.extras["raw_action"]) - batch.extras["log_prob"]
        target, advantage = vtrace_targets(
            batch.reward,
            values,
            next_values,
            batch.terminated,
            batch.truncated,
            log_ratio,
            gamma,
            lambda_,
            rho_clip,
            c_clip,
            pg_rho_clip,
            weighted,
        )
        clipped = log_ratio > jnp.log(rho_clip) + ROUNDING
        metrics = {
            "losses/explained_variance": explained_variance(values, target),
            "losses/rho": jnp.mean(jnp.exp(log_ratio)),
            "losses/rho_clipped": jnp.mean(clipped.astype(jnp.float32)),
        }
        return batch.annotate(value=values, advantage=advantage, target=target), metrics

    return stateless(apply)


def n_step_advantage(value: Value, gamma, n: int) -> Update:
    """Annotate the batch with n-step returns minus values.

    Reads and writes what `gae` does. A return reaches over n steps, or to the end of the episode or
    of the rollout where that comes first, and bootstraps there (never at a termination).

    Source: Mnih et al. 2016, section 4, https://arxiv.org/abs/1602.01783.
    """

    check_positive(n_step=n)

    def apply(params: Params, batch: Batch, key: Key):
        check_at_most("n_step", n, "rollout_length", len(batch.reward))
        values = values_seen(value, params, batch)
        next_values = values_ahead(value, params, batch, values)
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
    more, so that a mean over the batch is one over them. Reads reward, terminated and truncated of
    fresh experience. Writes advantage [T, N]; metric `losses/complete`, the fraction of steps that
    count.
    """

    def apply(params: Params, batch: Batch, key: Key):
        returns, complete = discounted_returns(
            batch.reward, batch.terminated, batch.truncated, gamma
        )
        fraction = collectives.pmean(jnp.mean(complete.astype(jnp.float32)))
        one_step = 1 / (complete.size * collectives.count())
        advantage = returns * complete / jnp.maximum(fraction, one_step)
        return batch.annotate(advantage=advantage), {"losses/complete": fraction}

    return stateless(apply)
