"""Tasks of MuJoCo Playground are what it says they are, step by step."""

import jax
import numpy as np
import pytest

pytest.importorskip("mujoco_playground")

import rljax
from rljax.envs import autoreset
from rljax.errors import UsageError

STEPS = 6


def test_every_step_is_playground_s_own():
    from mujoco_playground import registry

    env = rljax.make("playground/CartpoleBalance", episode_length=STEPS)
    task = registry.load("CartpoleBalance", config_overrides={"impl": "jax"})
    keys = jax.random.split(jax.random.key(0), 2)
    actions = jax.random.uniform(jax.random.key(1), (2, STEPS, 1), minval=-1, maxval=1)

    @jax.jit
    @jax.vmap
    def both(key, actions):
        def step(states, action):
            (ours, *seen), theirs = autoreset.step(env, key, states[0], action), states[1]
            theirs = task.step(theirs, action)
            return (ours, theirs), (seen, (theirs.obs, theirs.reward, theirs.done))

        (state, obs), their = autoreset.reset(env, key), task.reset(key)
        return (obs, their.obs), jax.lax.scan(step, (state, their), actions)[1]

    (first, expected), (seen, their) = both(keys, actions)
    np.testing.assert_array_equal(first, expected)
    for ours, theirs in zip(seen[:3], their, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not seen[2].any() and np.asarray(seen[0]).std() > 0
    assert seen[3].tolist() == [[False] * (STEPS - 1) + [True]] * 2
