"""Networks of several agents: which parameters each of them has."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rljax.networks.network import Network
from rljax.networks.recurrence import unroll as unrolled
from rljax.types import Carry, Key, Params


def of_agents(inner: Network, groups: Sequence[int], rank: int) -> Network:
    """`inner` for M agents, whose features and outputs are [..., M, ...].

    Args:
        inner: the network of one agent.
        rank: how many axes the features of one agent have, or the first array of them.
        groups: for each agent the number of its parameters, from 0 on. Agents of one number share
            them. With more than one number, the leaves of parameters lead with an axis of numbers.
    """
    count, members = max(groups) + 1, np.asarray(groups)

    def init(key: Key) -> Params:
        if count == 1:
            return inner.init(key)
        return jax.vmap(inner.init)(jax.random.split(key, count))

    def of_each(params: Params) -> Params:
        if count == len(groups) and (members == np.arange(count)).all():
            return params
        return jax.tree.map(lambda x: x[members], params)

    def apply(params: Params, features, carry: Carry, key: Key | None):
        if count == 1:
            return inner.apply(params, features, carry, key)
        axis = jax.tree.leaves(features)[0].ndim - rank - 1
        of_all = jax.vmap(inner.apply, (0, axis, axis, None), axis)
        return of_all(of_each(params), features, carry, key)

    def initial_carry(leading: tuple[int, ...]) -> Carry:
        return inner.initial_carry((*leading, len(groups)))

    def unroll(params: Params, features, carry: Carry, done: jax.Array, key: Key | None):
        if count == 1:  # Agents are further rows of the batch: one product for all of them.
            features, carry = (_joined(x, axis) for x, axis in ((features, 1), (carry, 0)))
            done = jnp.repeat(done, len(groups), axis=1)
            outputs = unrolled(inner, params, features, carry, done, key)
            return jax.tree.map(lambda x: x.reshape(len(x), -1, len(groups), *x.shape[2:]), outputs)

        def one(params: Params, features, carry: Carry):
            return unrolled(inner, params, features, carry, done, key)

        return jax.vmap(one, (0, 2, 1), 2)(of_each(params), features, carry)

    return inner._replace(
        init=init,
        apply=apply,
        initial_carry=initial_carry,
        unroll=unroll if inner.recurrent else None,
    )


def _joined(tree, axis: int):
    """Arrays whose axes `axis` and the one behind it are made one."""
    return jax.tree.map(lambda x: x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :]), tree)
