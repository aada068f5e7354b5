"""Parameters with earlier versions of themselves beside them, and who acts with those."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rljax.envs.opponents import AgainstOneOf, Opponent
from rljax.errors import UsageError
from rljax.types import Action, Actor, Environment, EnvState, Hparams, Key, Obs, Params

POOL = "pool"
"""The part of the parameters of who plays against earlier selves that holds them."""


def with_versions(actor: Actor, part: str, number: int) -> Actor:
    """`actor`, with versions of its parameters beside them, at first all the same.

    Its parameters have two parts: "online", with which it acts, and `part`, whose leaves are
    [number, ...], the oldest version first.
    """

    def init(key: Key) -> Params:
        params = actor.init(key)
        versions = jax.tree.map(lambda x: jnp.broadcast_to(x, (number, *jnp.shape(x))), params)
        return {"online": params, part: versions}

    def of_online(function):
        return function and (lambda params, *others: function(params["online"], *others))

    return actor._replace(
        init=init,
        policy=lambda hparams, progress: of_online(actor.policy(hparams, progress)),
        mode=lambda hparams: of_online(actor.mode(hparams)),
        distribution=of_online(actor.distribution),
    )


def with_newest(versions: Params, params: Params) -> Params:
    """Versions [number, ...] without the oldest one, and with `params` as the newest one."""
    return jax.tree.map(lambda kept, new: jnp.concatenate([kept[1:], new[None]]), versions, params)


def against_opponents(
    actor: Actor,
    game: Any,
    number: int,
    newest: jax.typing.ArrayLike,
    hparams: Hparams,
    progress: jax.Array,
    params: Params,
) -> Environment:
    """A game against earlier selves, drawn anew for each game, who explore as they did.

    Args:
        actor: acts with each version of the parameters; it has no memory.
        game: what is played.
        number: how many versions K there are in the part `POOL` of `params`.
        newest: how often the newest one is drawn, from 0 to 1; otherwise each is equally likely.
        hparams, progress: of the policy.
        params: of `with_versions`.

    Raises UsageError for an actor with a memory.
    """
    if jax.tree.leaves(jax.eval_shape(lambda: actor.initial_carry((1,)))):
        raise UsageError(
            'opponents have no memory of a game: let network be "mlp" or "cnn", not one that is '
            "recurrent"
        )
    policy = actor.policy(hparams, progress)

    def opponent(numbered: jax.Array) -> Opponent:
        def move(key: Key, state: EnvState, obs: Obs) -> Action:
            one = jax.tree.map(lambda x: x[None], obs)
            # All versions move, which is one product of each layer for all games; one is heard.
            act = partial(policy, obs=one, carry=actor.initial_carry((1,)), key=key)
            return jax.vmap(lambda version: act(version)[0][0])(params[POOL])[numbered]

        return move

    def draw(key: Key) -> jax.Array:
        key_newest, key_any = jax.random.split(key)
        anyone = jax.random.randint(key_any, (), 0, number)
        return jnp.where(jax.random.bernoulli(key_newest, newest), number - 1, anyone)

    return AgainstOneOf(game, opponent, draw)
