"""Exploration of continuous actions by noise that is added to them."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.actors.carries import with_carry_beside
from rljax.envs.spaces import Box, Space, describe
from rljax.errors import UsageError, check_known
from rljax.hparams import fraction, non_negative
from rljax.types import Action, Actor, Carry, Hparams, Key, Obs, Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoiseHparams:
    """The hyperparameters of all kinds of noise; each reads those that concern it."""

    noise_std: float = non_negative(0.1)
    """Standard deviation of the noise in the first environment, for actions scaled to [-1, 1]."""
    noise_ratio: float = non_negative(1.0)
    """That of the last environment, as a multiple of it; between them it changes by equal
    factors."""
    noise_theta: float = fraction(0.15)
    """Of "ornstein_uhlenbeck" noise: the part of itself that it loses in each step."""


def noise_scales(hparams: Hparams, envs: int) -> jax.Array:
    """The standard deviations [N] of environments, each by its place among those of all devices.

    Source: Horgan et al. 2018, section 4, https://arxiv.org/abs/1803.00933, who give each actor an
    exploration of its own.
    """
    place, total = collectives.places(envs)
    return hparams.noise_std * hparams.noise_ratio ** (place / max(total - 1, 1))


def _scaled_normal(hparams: Hparams, action: Action, key: Key) -> jax.Array:
    scales = noise_scales(hparams, len(action)).reshape(-1, *[1] * (action.ndim - 1))
    return scales * jax.random.normal(key, action.shape)


def _added(space: Box, action: Action, noise: jax.Array) -> Action:
    """Actions [N, ...] with noise for actions in [-1, 1], within the bounds of the space."""
    return jnp.clip(action + space.half_range * noise, space.low, space.high)


def gaussian_noise(actor: Actor, space: Box) -> Actor:
    """`actor`, whose actions [N, ...] get Gaussian noise, new in each step; its mode gets none.

    Source: Fujimoto et al. 2018, section 6.1, https://arxiv.org/abs/1802.09477.
    """

    def policy(hparams: Hparams, progress: jax.Array):
        act = actor.policy(hparams, progress)

        def explore(params: Params, obs: Obs, carry: Carry, key: Key):
            key_act, key_noise = jax.random.split(key)
            action, extras, carry = act(params, obs, carry, key_act)
            noise = _scaled_normal(hparams, action, key_noise)
            return _added(space, action, noise), extras, carry

        return explore

    return actor._replace(policy=policy)


def ornstein_uhlenbeck_noise(actor: Actor, space: Box) -> Actor:
    """`actor`, whose actions [N, ...] get noise that goes on from step to step; its mode gets none.

        x <- (1 - noise_theta) x + noise_std N(0, 1)

    The noise x [N, ...] is kept in the carry, so it begins at 0 with each episode.

    Source: Uhlenbeck and Ornstein 1930, https://doi.org/10.1103/PhysRev.36.823; Lillicrap et al.
    2016, section 7, https://arxiv.org/abs/1509.02971.
    """

    def policy(hparams: Hparams, progress: jax.Array):
        act = actor.policy(hparams, progress)

        def explore(params: Params, obs: Obs, carry: tuple[Carry, jax.Array], key: Key):
            inner, noise = carry
            key_act, key_noise = jax.random.split(key)
            action, extras, inner = act(params, obs, inner, key_act)
            noise = (1 - hparams.noise_theta) * noise + _scaled_normal(hparams, action, key_noise)
            return _added(space, action, noise), extras, (inner, noise)

        return explore

    def initial_carry(leading: tuple[int, ...]) -> tuple[Carry, jax.Array]:
        return actor.initial_carry(leading), jnp.zeros((*leading, *space.shape))

    return Actor(
        actor.init,
        policy,
        lambda hparams: with_carry_beside(actor.mode(hparams)),
        initial_carry,
        with_carry_beside(actor.distribution),
    )


NOISES: dict[str, Callable[[Actor, Box], Actor]] = {
    "none": lambda actor, space: actor,
    "gaussian": gaussian_noise,
    "ornstein_uhlenbeck": ornstein_uhlenbeck_noise,
}


def noisy_actor(kind: str, actor: Actor, space: Space) -> Actor:
    """`actor` with the noise of that name.

    The space is that of the actions of an environment, [A], or of several agents [M, A].
    Raises UsageError for one that is not known, and for noise on actions that are not of a Box.
    """
    check_known("noise", kind, NOISES)
    if not isinstance(space, Box):
        if kind != "none":
            raise UsageError(f"noise {kind!r} is for actions of a Box, not of {describe(space)}")
        return actor
    return NOISES[kind](actor, space)
