"""Populations: an agent over members, in one program."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from rljax.envs.simulators import on_host
from rljax.errors import UsageError
from rljax.replay import check_memory, size_in_bytes
from rljax.types import Agent, Hparams, Key, State


def vmap(agent: Agent) -> Agent:
    """A population: every member trains at once, in one program.

    `init(keys [P], hparams=None)` starts P members; leaves of `hparams` are [P], or scalars for
    all members alike. States and metrics lead with P. `vmap(vmap(agent))` leads with [P, Q].
    `init` raises UsageError for more members than fit into device memory, before it allocates.

    >>> import jax, rljax
    >>> agent = rljax.ppo(rljax.make("CartPole-v1"), num_envs=4, rollout_length=8)
    >>> states = rljax.vmap(agent).init(jax.random.split(jax.random.key(0), 3))
    >>> states.worker.obs.shape
    (3, 4, 4)
    """

    if on_host(agent.env):
        raise UsageError(
            f"{agent.env.name} is a simulator of the host, and serves one agent: train one seed at "
            "a time"
        )

    def init(keys: Key, hparams: Hparams | None = None) -> State:
        hparams = one_each(agent.hparams, hparams, keys.shape[0])
        states = jax.eval_shape(jax.vmap(agent.init), keys, hparams)
        here = _share_of_one_device(states, placement(states)) if agent.placement else states
        check_memory("the number of members", keys.shape[0], size_in_bytes(here), "members")
        return jax.vmap(agent.init)(keys, hparams)

    def placement(states: State) -> State:
        assert agent.placement is not None
        member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states)
        return jax.tree.map(_behind_members, agent.placement(member))

    return agent._replace(
        init=init,
        step=jax.vmap(agent.step),
        policy=jax.vmap(agent.policy),
        learn=jax.vmap(agent.learn),
        act=jax.vmap(agent.act),
        distribution=agent.distribution and jax.vmap(agent.distribution),
        placement=agent.placement and placement,
        population_axes=agent.population_axes + 1,
    )


def one_each(default: Hparams, hparams: Hparams | None, members: int) -> Hparams:
    """Hyperparameters whose leaves lead with the members, from what `vmap` allows."""

    def spread(x):
        x = jnp.asarray(x, jnp.float32)
        return x if x.shape[:1] == (members,) else jnp.broadcast_to(x, (members, *x.shape))

    return jax.tree.map(spread, default if hparams is None else hparams)


def _behind_members(sharding: NamedSharding) -> NamedSharding:
    return NamedSharding(sharding.mesh, Spec(None, *sharding.spec))


def _share_of_one_device(states: State, placement: State) -> State:
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(sharding.shard_shape(x.shape), x.dtype),
        states,
        placement,
    )
