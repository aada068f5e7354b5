"""Transformations of agents, mirroring JAX's own."""

import jax
import jax.numpy as jnp

from rljax.types import Agent, Hparams, Key, State


def vmap(agent: Agent) -> Agent:
    """A population: every member trains at once, in one program.

    `init(keys [P], hparams=None)` starts P members; leaves of `hparams` are [P], or scalars for
    all members alike. States and metrics lead with P. `vmap(vmap(agent))` leads with [P, Q].

    >>> import jax, rljax
    >>> agent = rljax.ppo(rljax.make("CartPole-v1"), num_envs=4, rollout_length=8)
    >>> states = rljax.vmap(agent).init(jax.random.split(jax.random.key(0), 3))
    >>> states.worker.obs.shape
    (3, 4, 4)
    """

    def init(keys: Key, hparams: Hparams | None = None) -> State:
        members = keys.shape[0]
        hparams = agent.hparams if hparams is None else hparams

        def spread(x):
            x = jnp.asarray(x, jnp.float32)
            return x if x.shape[:1] == (members,) else jnp.broadcast_to(x, (members, *x.shape))

        return jax.vmap(agent.init)(keys, jax.tree.map(spread, hparams))

    return agent._replace(init=init, step=jax.vmap(agent.step), act=jax.vmap(agent.act))
