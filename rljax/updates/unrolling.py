"""What a model that is searched learns from: the searches of who acted, and what came of them."""

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import entr

from rljax import ops
from rljax.errors import check_at_most, check_positive
from rljax.networks import LatentModel
from rljax.types import Batch, Key, Metrics, Params, Policy, Update
from rljax.updates.composition import stateless
from rljax.updates.optimization import Loss


def search_target(model: LatentModel, gamma, n: int, unroll_steps: int) -> Update:
    """Annotate windows with n-step returns that bootstrap from the values of the model.

        z_t = r_t + gamma r_{t+1} + ... + gamma^n v(o_{t+n})

    For samples [L, B], of which the first 1 + unroll_steps rows are kept. Reads obs, reward,
    next_obs, terminated and truncated. Writes target [1 + unroll_steps, B]. Summing stops where an
    episode ends, or with the last row.

    v is the value that the present parameters give. In the paper it is the value that the search
    found while acting, which in a replay buffer is as old as its step.

    Raises UsageError for counts below one, or windows too short for them.

    Source: Schrittwieser et al. 2020, section 3 and appendix H (the bootstrap of Reanalyze, without
    its target network), https://arxiv.org/abs/1911.08265.
    """
    check_positive(n_step=n, unroll_steps=unroll_steps)

    def apply(params: Params, batch: Batch, key: Key):
        steps, envs = batch.terminated.shape
        check_at_most("unroll_steps + n_step", unroll_steps + n, "the steps of a window", steps)
        ends = batch.terminated, batch.truncated
        returns = ops.n_step_returns(batch.reward, *ends, gamma, n)
        total, discount, last = (x[: 1 + unroll_steps] for x in returns)
        ahead = jax.tree.map(lambda x: x[last, jnp.arange(envs)], batch.next_obs)
        target = total + discount * model.value(params, ahead)
        batch = jax.tree.map(lambda x: x[: 1 + unroll_steps], batch)
        return batch.annotate(target=jax.lax.stop_gradient(target)), {}

    return stateless(apply)


def reanalyse(search: Policy) -> Update:
    """Search the observations of a sample anew, with the present parameters.

    Reads obs of a sample [L, B]. Replaces search_policy [L, B, A], which older parameters found.

    Source: Schrittwieser et al. 2020, appendix H (Reanalyze), https://arxiv.org/abs/1911.08265.
    """

    def apply(params: Params, batch: Batch, key: Key):
        steps, envs = batch.terminated.shape
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch.obs)
        policy = search(params, flat, (), key)[1]["search_policy"]
        return batch.annotate(search_policy=policy.reshape(steps, envs, -1)), {}

    return stateless(apply)


def unrolled_loss(model: LatentModel, value_coef, reward_coef) -> Loss:
    """Losses of policy, value and reward along sequences that the model imagines; a mean over B.

    For samples [1 + K, B]: the first observation is represented, and the K actions that follow are
    imagined. Each state has as targets the policy that a search found there and the return of
    `search_target`, and each action the reward that came of it. Losses of the K imagined steps are
    divided by K, and the gradient is halved where it leaves each of them, so that it does not grow
    with K.

    Behind the end of an episode that terminated there is an absorbing state: its value and its
    rewards are 0, and it has no policy to learn. Behind an episode that was truncated there is
    nothing to learn.

    Reads obs, action, reward, terminated, truncated, search_policy, target (from `search_target`)
    and, where something wrote it, weight. Besides its metrics it gives priority [1, B], that of the
    first value, which `gradient` writes into the batch for a replay.

    Source: Schrittwieser et al. 2020, section 3 and appendix G, https://arxiv.org/abs/1911.08265.
    """
    head = model.head

    def loss(params: Params, batch: Batch, key: Key) -> tuple[jax.Array, Metrics]:
        unrolled = len(batch.reward) - 1

        def step(state: jax.Array, action: jax.Array):
            state, reward = model.imagine(params, half_gradient(state), action)
            return state, (reward, *model.predict(params, state))

        root = model.represent(params, jax.tree.map(lambda x: x[0], batch.obs))
        _, (rewards, *behind) = jax.lax.scan(step, root, batch.action[:-1])
        logits, values = (
            jnp.concatenate([first[None], later])
            for first, later in zip(model.predict(params, root), behind, strict=True)
        )
        over, cut = ended_before(batch)
        known = ~cut
        share = jnp.where(jnp.arange(unrolled + 1) == 0, 1.0, 1.0 / unrolled)[:, None]
        share *= batch.extras["weight"][:1] if "weight" in batch.extras else 1.0

        def fitted(outputs: jax.Array, numbers: jax.Array, counts: jax.Array):
            """Losses and priorities of outputs [..., *shape] for numbers [...], 0 where over."""
            numbers = jnp.where(over[: len(numbers)], 0.0, numbers)
            losses, priority = head.loss(outputs, head.certain(numbers))
            return jnp.where(counts, losses, 0.0), priority

        target = batch.extras["target"]
        of_value, priority = fitted(values, target, known)
        of_reward, _ = fitted(rewards, batch.reward[:-1], known[:-1])
        searched = batch.extras["search_policy"]
        of_policy = jnp.where(over, 0.0, optax.softmax_cross_entropy(logits, searched))

        def total(losses: jax.Array, share: jax.Array) -> jax.Array:
            return jnp.mean(jnp.sum(losses * share, axis=0))

        losses = {
            "losses/policy_loss": total(of_policy, share),
            "losses/value_loss": total(of_value, share),
            "losses/reward_loss": total(of_reward, share[1:]),
        }
        policy_loss, value_loss, reward_loss = losses.values()
        metrics = {
            **losses,
            "losses/search_entropy": jnp.mean(jnp.sum(entr(searched[0]), axis=-1)),
            "losses/values": jnp.mean(head.q(values[0])),
            "priority": priority[:1],
        }
        if head.clipped is not None:
            beyond = head.clipped(values, target, jnp.zeros_like(target))
            metrics["losses/clipped_targets"] = jnp.mean(beyond)
        return policy_loss + value_coef * value_loss + reward_coef * reward_loss, metrics

    return loss


def half_gradient(x: jax.Array) -> jax.Array:
    """`x`, of which half the gradient passes."""
    return 0.5 * x + 0.5 * jax.lax.stop_gradient(x)


def ended_before(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Of each row of windows [L, B], whether the episode of the first row ended before it.

    Returns bool [L, B] for an end of either kind, and for one that was truncated.
    """

    def before(x: jax.Array) -> jax.Array:
        later = jax.lax.cummax(x.astype(jnp.int32), axis=0).astype(bool)
        return jnp.concatenate([jnp.zeros_like(later[:1]), later[:-1]])

    over = before(batch.done)
    return over, before(batch.truncated & ~over)
