"""Eligibility traces, kept by who acts."""

import jax
import jax.numpy as jnp

from rljax.actors.carries import with_carry_beside
from rljax.envs.action_masks import observed
from rljax.networks import QNetwork
from rljax.types import Actor, Carry, Hparams, Key, Obs, Params

SMALLEST_TRACE = 1e-6  # what is left of one below it moves no value that float32 could tell


def with_traces(actor: Actor, table: QNetwork) -> Actor:
    """`actor` with replacing eligibility traces [N, S, A], cut where it explores.

    Records trace, as each step leaves it.

    Source: Watkins 1989; Sutton and Barto 2018, section 12.10; replacing traces: Singh and Sutton
    1996, https://doi.org/10.1007/BF00114726.
    """

    def policy(hparams: Hparams, progress: jax.Array):
        choose = actor.policy(hparams, progress)

        def act(params: Params, obs: Obs, carry: tuple[Carry, jax.Array], key: Key):
            inner, trace = carry
            action, extras, inner = choose(params, obs, inner, key)
            q, _ = table.values(params, obs, (), None)
            envs = jnp.arange(action.shape[0])
            keeps = q[envs, action] >= jnp.max(q, axis=-1)
            fade = jnp.where(keeps, hparams.gamma * hparams.trace_lambda, 0.0)
            trace = trace * fade[:, None, None]
            trace = (
                jnp.where(trace < SMALLEST_TRACE, 0.0, trace)
                .at[envs, observed(obs), action]
                .set(1.0)
            )
            return action, {**extras, "trace": trace}, (inner, trace)

        return act

    shape = jax.eval_shape(actor.init, jax.random.key(0)).shape

    def initial_carry(leading: tuple[int, ...]) -> tuple[Carry, jax.Array]:
        return actor.initial_carry(leading), jnp.zeros((*leading, *shape))

    return Actor(
        actor.init,
        policy,
        lambda hparams: with_carry_beside(actor.mode(hparams)),
        initial_carry,
        with_carry_beside(actor.distribution),
    )
