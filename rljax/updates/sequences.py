"""What networks with memory need before they learn from windows of a replay."""

import jax

from rljax.errors import check_at_most, check_count
from rljax.networks import Network, QNetwork, of_first_row, reset_carry, unroll
from rljax.types import Batch, Carry, Key, Obs, Params, Update
from rljax.updates.advantages import led_to
from rljax.updates.composition import stateless


def fresh_carry(network: Network) -> Update:
    """Annotate windows with the carry with which an episode begins, in the place of a stored one.

    For samples [L, B]. Writes carry [1, B, ...], that of the first row.

    Source: Hausknecht and Stone 2015, section 4 (random updates), https://arxiv.org/abs/1507.06527.
    """

    def apply(params: Params, batch: Batch, key: Key):
        return batch.annotate(carry=network.initial_carry((1, batch.terminated.shape[1]))), {}

    return stateless(apply)


def burn_in(q: QNetwork, steps: int) -> Update:
    """Unroll networks over the first steps of windows, without gradient, and drop those steps.

    So a carry that was stored long ago gives way to one of the present parameters. Reads obs,
    terminated, truncated and carry of a sample [L, B], of which the carry is that of the first row,
    [1, B, ...]. Keeps the L - steps rows that follow, and writes carry and, for a target network,
    target_carry in front of them. An episode may end within the steps.

    Args:
        q: a network with memory, and its target network if it has one.
        steps: how many, fewer than L. With 0, both networks are given the carry that is stored.

    Raises UsageError for a number of steps that is not a whole one of at least 0, or leaves none.

    Source: Kapturowski et al. 2019, section 3, https://openreview.net/forum?id=r1lyTjAqYX.
    """
    check_count(burn_in=steps)
    networks = {"carry": q.net} | ({"target_carry": q.target} if q.target else {})

    def apply(params: Params, batch: Batch, key: Key):
        check_at_most("burn_in", steps, "the steps of a window but one", len(batch.reward) - 1)
        start = of_first_row(batch.extras["carry"])
        obs, done = jax.tree.map(lambda x: x[:steps], (batch.obs, batch.done))

        def carried(network: Network, key: Key) -> Carry:
            if steps == 0:
                return start
            _, carries = unroll(network, params, obs, start, done, key)
            return reset_carry(network, jax.tree.map(lambda x: x[-1], carries), done[-1])

        keys = jax.random.split(key, len(networks))
        found = {
            name: jax.tree.map(lambda x: jax.lax.stop_gradient(x)[None], carried(network, k))
            for (name, network), k in zip(networks.items(), keys, strict=True)
        }
        # A carry of the first row alone is not cut with the others.
        batch = jax.tree.map(lambda x: x[steps:], batch.annotate(carry=()))
        return batch.annotate(**found), {}

    return stateless(apply)


def next_estimates(q: QNetwork) -> Update:
    """Annotate windows with what a network with memory makes of the observation each step led to.

    Without gradient, and each with the carry behind its step. For `td_target`, which a network
    without memory needs only to be given the observation. Reads obs, next_obs, terminated,
    truncated, carry and, for a target network, target_carry of a sample [L, B], of which the
    carries are those of the first row. Writes next_estimate [L, B, ...], by the target network if
    there is one, next_values [L, B, A], by the parameters that learn, and ends, bool [L, B], where
    an episode ended: `n_step` replaces terminated and truncated.
    """

    def apply(params: Params, batch: Batch, key: Key):
        key_now, key_target = jax.random.split(key)

        def ahead(network: Network, carry: str, key: Key):
            def value(obs: Obs, carry: Carry):
                return network.apply(params, obs, carry, key)[0]

            start = of_first_row(batch.extras[carry])
            seen, carries = unroll(network, params, batch.obs, start, batch.done, key)
            return led_to(value, batch.truncated, seen, batch.next_obs, carries)

        now = ahead(q.net, "carry", key_now)
        by_target = ahead(q.target, "target_carry", key_target) if q.target else now
        ahead_of_all = {"next_estimate": by_target, "next_values": q.expected(now, batch.next_obs)}
        return batch.annotate(ends=batch.done, **jax.lax.stop_gradient(ahead_of_all)), {}

    return stateless(apply)
