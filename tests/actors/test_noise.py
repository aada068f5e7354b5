"""Noise on actions: as strong as it should be, within the bounds, and gone with its episode."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from rljax import collectives
from rljax.actors import NOISES, NoiseHparams, noisy_actor
from rljax.actors.noise import noise_scales
from rljax.actors.rollouts import rollout, start
from rljax.envs.spaces import Box
from rljax.errors import UsageError
from rljax.networks import reset_carry
from rljax.types import Actor

SPACE = Box(np.array([-100.0, -10.0]), np.array([100.0, 30.0]), (2,))
NOW = jnp.float32(0.5)
HP = NoiseHparams(noise_std=0.05, noise_theta=0.2)
N, T = 2_000, 12


def middle(params, obs, carry, key=None):
    return jnp.broadcast_to(jnp.asarray(SPACE.middle), (len(obs), 2)), {"seen": obs}, carry


BASE = Actor(
    lambda key: (), lambda hp, progress: middle, lambda hp: lambda p, obs, carry: (obs, carry)
)


def noises(kind: str, hparams=HP, envs: int = N, steps: int = T) -> np.ndarray:
    """The noise [T, N, 2] of actions scaled to [-1, 1]."""
    actor = noisy_actor(kind, BASE, SPACE)
    act = actor.policy(hparams, NOW)

    def step(carry, key):
        action, extras, carry = act((), jnp.zeros(envs), carry, key)
        assert set(extras) == {"seen"}
        return carry, action

    keys = jax.random.split(jax.random.key(0), steps)
    _, actions = jax.lax.scan(step, actor.initial_carry((envs,)), keys)
    return (np.asarray(actions, np.float64) - SPACE.middle) / SPACE.half_range


def test_gaussian_noise_is_new_in_each_step_and_of_the_size_of_the_bounds():
    found = noises("gaussian")
    assert abs(found.mean()) < 2e-3
    np.testing.assert_allclose(found.std(axis=(0, 1)), [0.05, 0.05], rtol=0.02)
    for other in (found[1:, :, 0], found[1:, :, 1]):
        assert abs(np.corrcoef(found[:-1, :, 0].ravel(), other.ravel())[0, 1]) < 0.02


def test_ornstein_uhlenbeck_noise_goes_on_from_step_to_step():
    found = noises("ornstein_uhlenbeck")
    fresh = found[1:] - 0.8 * found[:-1]
    np.testing.assert_allclose(fresh.std(), 0.05, rtol=0.02)
    assert abs(np.corrcoef(fresh[1:, :, 0].ravel(), found[1:-1, :, 0].ravel())[0, 1]) < 0.02
    # The variance of an AR(1) process that began at 0.
    expected = 0.05 * np.sqrt((1 - 0.8 ** (2 * np.arange(1, T + 1))) / (1 - 0.8**2))
    np.testing.assert_allclose(found.std(axis=(1, 2)), expected, rtol=0.05)


@pytest.mark.parametrize("kind", ["gaussian", "ornstein_uhlenbeck"])
def test_each_environment_has_its_scale_and_no_action_leaves_the_bounds(kind):
    found = noises(kind, replace(HP, noise_std=0.1, noise_ratio=0.01), envs=5, steps=4_000)
    expected = 0.1 * 0.01 ** (np.arange(5) / 4)
    if kind == "ornstein_uhlenbeck":
        expected = expected / np.sqrt(1 - 0.8**2)
    np.testing.assert_allclose(found.std(axis=(0, 2)), expected, rtol=0.1)
    wild = noises(kind, replace(HP, noise_std=3.0))
    assert np.abs(wild).max() == 1.0 and (np.abs(wild) == 1.0).mean() > 0.5


def test_scales_are_those_of_all_environments_on_several_devices():
    hp = replace(HP, noise_ratio=0.1)
    mesh = jax.make_mesh((4,), (collectives.ENVIRONMENTS,), axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        lambda: noise_scales(hp, 2),
        mesh=mesh,
        in_specs=(),
        out_specs=PartitionSpec(collectives.ENVIRONMENTS),
        check_vma=False,
    )
    np.testing.assert_allclose(jax.jit(spread)(), noise_scales(hp, 8), rtol=1e-6)


@dataclass
class Short:
    """Three steps, then another episode."""

    name = "Short"
    observation_space = Box(0.0, 3.0, (1,))
    action_space = SPACE

    def reset(self, key):
        return jnp.int32(0), jnp.zeros(1)

    def step(self, key, state, action):
        return state + 1, jnp.zeros(1), jnp.sum(action), state >= 2, jnp.bool_(False)


def test_noise_begins_again_with_each_episode():
    actor = noisy_actor("ornstein_uhlenbeck", BASE, SPACE)
    env = Short()
    worker = start(env, actor.initial_carry((4,)), 4, jax.random.key(0))
    _, batch = rollout(
        env,
        actor.policy(HP, NOW),
        lambda carry, done: reset_carry(actor, carry, done),
        (),
        worker,
        jax.random.key(1),
        7,
    )
    before = np.asarray(batch.extras["carry"][1])
    is_first = np.arange(7) % 3 == 0
    assert (before[is_first] == 0).all() and (before[~is_first] != 0).all()


@pytest.mark.parametrize("kind", NOISES)
def test_the_mode_has_no_noise_and_keeps_the_carry(kind):
    actor = noisy_actor(kind, BASE, SPACE)
    carry = jax.tree.map(lambda x: x + 1, actor.initial_carry((3,)))
    obs = jnp.arange(3.0)
    action, after = actor.mode(HP)((), obs, carry)
    np.testing.assert_array_equal(action, obs)
    jax.tree.map(np.testing.assert_array_equal, after, carry)


def test_a_noise_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="noise 'gausian' is not known; did you mean 'gaussian'"):
        noisy_actor("gausian", BASE, SPACE)
