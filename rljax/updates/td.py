"""Temporal differences: targets for action values, and the loss that moves values towards them.

A `QNetwork` may be a deep network or a table; nothing here can tell.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from rljax import collectives, ops
from rljax.envs.action_masks import legal_actions
from rljax.errors import check_at_most, check_positive
from rljax.networks import QNetwork, ValueHead, of_first_row, unroll
from rljax.networks.value_heads import Chosen
from rljax.types import Batch, Carry, Key, Metrics, Obs, Params, Update
from rljax.updates.advantages import values_ahead
from rljax.updates.agents import over_agents
from rljax.updates.composition import stateless
from rljax.updates.optimization import Loss

NextPolicy = Callable[[jax.Array, jax.Array, Batch, Key], jax.Array]
"""(values [..., A] by the parameters that learn, the same by the target network, batch, key) to the
probabilities [..., A] with which the target believes the next action to be taken."""


AHEAD = ("next_estimate", "next_values")
"""Extras about what a step led to, as next_obs is."""


def n_step(gamma, n: int = 1, rows: int | None = None) -> Update:
    """Turn each step into one that spans n, or what is left of its episode or of the batch.

    Reads reward, next_obs, terminated and truncated, of fresh experience or of a sample. Replaces
    them by the discounted sum of rewards, and by those of the last step spanned; writes discount
    [T, N] (gamma^steps, 0 where the task ended), the factor of what comes after, and last [T, N]
    int32, the row of that step. Estimates of what each step led to, from `next_estimates`, are
    replaced as next_obs is.

    Args:
        gamma: discount per step.
        n: how many steps.
        rows: keep only the first so many rows: 1 for windows of n steps from a replay.

    Source: Sutton and Barto 2018, eq. 7.1 and 7.4.
    """

    check_positive(n_step=n)

    def apply(params: Params, batch: Batch, key: Key):
        check_at_most("n_step", n, "rollout_length", len(batch.reward))
        reward, discount, last = (
            x[:rows]
            for x in ops.n_step_returns(batch.reward, batch.terminated, batch.truncated, gamma, n)
        )

        def at_last(x: jax.Array) -> jax.Array:
            # One step ends where it begins: copying what was observed there would cost.
            return x[:rows] if n == 1 else x[last, jnp.arange(last.shape[1])]

        estimates = {name: batch.extras[name] for name in AHEAD if name in batch.extras}
        after = jax.tree.map(
            at_last, (batch.next_obs, batch.terminated, batch.truncated, estimates)
        )
        batch = jax.tree.map(lambda x: x[:rows], batch)
        next_obs, terminated, truncated, estimates = after
        batch = replace(
            batch, reward=reward, next_obs=next_obs, terminated=terminated, truncated=truncated
        )
        return batch.annotate(discount=discount, last=last, **estimates), {}

    return stateless(apply)


def greedy(q_now: jax.Array, q_target: jax.Array, batch: Batch, key: Key) -> jax.Array:
    """The target's own best action: Q-learning (Watkins and Dayan 1992)."""
    return _certain(jnp.argmax(q_target, axis=-1), q_target)


def double(q_now: jax.Array, q_target: jax.Array, batch: Batch, key: Key) -> jax.Array:
    """The action that the present parameters think best, valued by the target's.

    Source: van Hasselt et al. 2016, eq. 4, https://arxiv.org/abs/1509.06461.
    """
    return _certain(jnp.argmax(q_now, axis=-1), q_now)


def expected(explore: Callable[[jax.Array], jax.Array]) -> NextPolicy:
    """The policy that explores, in expectation: Expected SARSA.

    Source: van Seijen et al. 2009, eq. 5, https://doi.org/10.1109/ADPRL.2009.4927542.
    """
    return lambda q_now, q_target, batch, key: explore(q_target)


def taken(explore: Callable[[jax.Array], jax.Array]) -> NextPolicy:
    """The action taken next: SARSA. Where the batch does not know it, one sampled from the policy.

    Reads last, action, terminated and truncated of fresh experience. The last step of a rollout
    is never followed by another, so with rollouts of one step all actions are sampled. A sampled
    action has the distribution of the policy before the update, but it is not the one that will be
    taken. With rollouts of T steps, T - 1 of T targets have the action taken.

    Source: Sutton and Barto 2018, eq. 6.7.
    """

    def next_policy(q_now: jax.Array, q_target: jax.Array, batch: Batch, key: Key) -> jax.Array:
        after = batch.extras["last"] + 1
        length, envs = batch.action.shape
        known = (after < length) & ~batch.done
        action = batch.action[jnp.minimum(after, length - 1), jnp.arange(envs)]
        sampled = ops.sample(explore(q_now), collectives.fold_in(key))
        return _certain(jnp.where(known, action, sampled), q_target)

    return next_policy


def _certain(action: jax.Array, q: jax.Array) -> jax.Array:
    return jax.nn.one_hot(action, q.shape[-1], dtype=q.dtype)


def td_target(q: QNetwork, next_policy: NextPolicy = greedy) -> Update:
    """Annotate the batch with r + discount x (what `next_policy` leads to).

    Reads reward, next_obs and discount (from `n_step`), of fresh experience or of a sample; for a
    network with memory, next_estimate and next_values (from `next_estimates`), not next_obs. Writes
    target, [T, N] or, for a distribution, [T, N, M]; for a head with bounds also clipped [T, N],
    the part of each target beyond them.

    Args:
        q: the values to bootstrap from: those of its target network, if it has one, as
            `networks.with_target` gives; else its own.
        next_policy: `greedy`, `double`, `expected(...)` or `taken(...)`.

    Source: Mnih et al. 2015, algorithm 1, https://doi.org/10.1038/nature14236.
    """

    bootstrap = q.by_target()

    def apply(params: Params, batch: Batch, key: Key):
        key_now, key_target, key_policy = jax.random.split(key, 3)
        if q.net.recurrent:
            estimate, q_now = (batch.extras[name] for name in AHEAD)
        else:
            estimate, _ = bootstrap.net.apply(params, batch.next_obs, (), key_target)
            q_now, _ = q.values(params, batch.next_obs, (), key_now)
        policy = next_policy(q_now, q.expected(estimate, batch.next_obs), batch, key_policy)
        chosen = bootstrap.chosen(params, estimate, policy, batch.next_obs)
        return annotate_target(batch, q.head, chosen, batch.reward), {}

    return stateless(apply)


def annotate_target(batch: Batch, head: ValueHead, after: Chosen, reward: jax.Array) -> Batch:
    """The batch with target: reward [T, N] + discount x the estimate `after` of what follows.

    Reads discount. For a head with bounds it also writes clipped [T, N].
    """
    discount = batch.extras["discount"]
    target = head.backup(after, reward, discount)
    batch = batch.annotate(target=jax.lax.stop_gradient(target))
    if head.clipped is not None:
        batch = batch.annotate(clipped=head.clipped(after, reward, discount))
    return batch


def initial_priorities(q: QNetwork, gamma, n: int = 1) -> Update:
    """Annotate a rollout with the errors of those who acted: priorities for steps that are new.

    Reads obs, action, reward, next_obs, terminated, truncated, action_values [T, N, A] (from
    `actors.recording_values`) and, for a network with memory, carry of fresh experience. Writes
    priority [T, N], the absolute error of the value of the action taken. Its target spans n steps,
    or what is left of the episode or of the rollout: so the last n - 1 steps of a rollout have a
    target of fewer steps.

    Targets bootstrap from the highest of the recorded values. Where no step of the rollout follows,
    at its end and where an episode was truncated, nobody recorded any: there the parameters of now
    value what was observed.

    Source: Horgan et al. 2018, section 3 and algorithm 1, https://arxiv.org/abs/1803.00933.
    """
    check_positive(n_step=n)

    def value(params: Params, obs: Obs, carry: Carry):
        return q.net.apply(params, obs, carry, None)

    def apply(params: Params, batch: Batch, key: Key):
        recorded = batch.extras["action_values"]
        carried = batch if q.net.recurrent else batch.annotate(carry=())
        ahead = values_ahead(value, params, carried, recorded)
        ahead_of_all = batch.annotate(next_estimate=ahead)
        spanning = n_step(gamma, min(n, len(batch.reward)))
        _, _, spanned, _ = spanning.apply(params, (), ahead_of_all, key)
        legal = legal_actions(spanned.next_obs)
        following = jnp.max(ops.only_legal(spanned.extras["next_estimate"], legal), axis=-1)
        target = q.head.backup(following, spanned.reward, spanned.extras["discount"])
        taken = q.head.pick(recorded, _certain(batch.action, recorded))
        return batch.annotate(priority=over_agents(q.head.loss(taken, target)[1], batch)), {}

    return stateless(apply)


def lambda_target(q: QNetwork, gamma, lambda_) -> Update:
    """Annotate a rollout with lambda-returns of the greedy policy: Peng's Q(lambda).

    Reads reward, next_obs, terminated and truncated of fresh experience; writes target [T, N].

    Source: Peng and Williams 1994; Gallici et al. 2024, eq. 15, https://arxiv.org/abs/2407.04811.
    """

    def apply(params: Params, batch: Batch, key: Key):
        values = jnp.max(q.values(params, batch.next_obs, (), key)[0], axis=-1)
        target = ops.lambda_returns(
            batch.reward, values, batch.terminated, batch.truncated, gamma, lambda_
        )
        return batch.annotate(target=target), {}

    return stateless(apply)


def q_loss(q: QNetwork) -> Loss:
    """The distance of the values of the actions taken from their targets, a mean over the batch.

    Reads obs, action, target and, where something wrote them, weight (a replay) and clipped
    (`td_target`), each [T, N]. Besides the metrics `losses/td_loss`, `losses/q_values` and
    `losses/clipped_targets` it gives priority [T, N], which `gradient` writes into
    the batch for a replay.

    A network with memory is unrolled over windows of a replay, and differentiated through. It
    reads carry, that of the first row, and ends (from `next_estimates`), too.
    """

    def estimates(params: Params, batch: Batch, key: Key):
        if not q.net.recurrent:
            return q.net.apply(params, batch.obs, (), key)[0]
        start, ends = of_first_row(batch.extras["carry"]), batch.extras["ends"]
        return unroll(q.net, params, batch.obs, start, ends, key)[0]

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        estimate = estimates(params, batch, key)
        values = q.head.q(estimate)
        taken = _certain(batch.action, values)
        chosen = q.chosen(params, estimate, taken, batch.obs)
        losses, priority = q.head.loss(chosen, batch.extras["target"])
        return td_loss(batch, losses, priority, jnp.mean(jnp.sum(values * taken, axis=-1)))

    return loss


def td_loss(
    batch: Batch, losses: jax.Array, priority: jax.Array, mean_value: jax.Array
) -> tuple[jax.Array, Metrics]:
    """The weighted mean of losses [T, N], and the metrics and the priority that go with it.

    Of several agents, losses and priorities are [T, N, M], and what counts is their mean. Reads
    weight and clipped, where something wrote them.
    """
    losses, priority = over_agents(losses, batch), over_agents(priority, batch)
    mean = jnp.mean(losses * batch.extras.get("weight", 1.0))
    metrics = {"losses/td_loss": mean, "losses/q_values": mean_value, "priority": priority}
    if "clipped" in batch.extras:
        metrics["losses/clipped_targets"] = jnp.mean(batch.extras["clipped"])
    return mean, metrics
