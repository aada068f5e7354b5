"""Tasks of MuJoCo Playground are what it says they are, step by step."""

import subprocess

import jax
import numpy as np
import pages
import pytest

pytest.importorskip("mujoco_playground")

import rljax
from rljax.envs import autoreset
from rljax.errors import UsageError

STEPS = 6


@pytest.mark.long
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


@pytest.mark.long
def test_poses_and_pace_are_those_of_the_task():
    env = rljax.make("playground/CartpoleBalance", ctrl_dt=0.02)
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2))
    model, fields = env.poses(states)
    assert model.nq == 2 and fields["qpos"].shape == (2, 2)
    assert env.seconds_per_step == 0.02 and env.env.mjx_model.impl.value == "jax"


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        (
            "CartpoleBalence",
            {},
            "Balence' is not known; did you mean 'playground/CartpoleBalance'?",
        ),
        ("CartpoleBalance", {"ctrl_td": 1}, "parameter 'ctrl_td' is not .* mean 'ctrl_dt'?"),
        ("CartpoleBalance", {"vision_config": {"nwrld": 1}}, "parameter 'nwrld' .* mean 'nworld'?"),
        ("CartpoleBalance", {"impl": "jaxx"}, "cannot be made with impl: .*jaxx"),
        ("CartpoleBalance", {"ctrl_dt": "x"}, "cannot be made with impl, ctrl_dt"),
    ],
)
def test_what_playground_does_not_have_is_refused(name, params, sentence):
    with pytest.raises(UsageError, match=sentence) as refusal:
        rljax.make(f"playground/{name}", **params)
    assert "\n" not in str(refusal.value)


def test_a_robot_that_cannot_be_downloaded_is_refused_and_the_task_named(monkeypatch):
    from mujoco_playground._src import mjx_env

    def no_network(*_):
        raise subprocess.CalledProcessError(128, ["git", "clone"])

    monkeypatch.setattr(mjx_env, "MENAGERIE_PATH", mjx_env.ROOT_PATH / "nowhere")
    monkeypatch.setattr(mjx_env, "_clone_with_progress", no_network)
    with pytest.raises(UsageError, match="^playground/Go1JoystickFlatTerrain downloads its robot"):
        rljax.make("playground/Go1JoystickFlatTerrain")


@pytest.mark.long
def test_the_code_of_the_page_runs():
    page, names = pages.ROOT / "docs/physics.md", {}
    for block in pages.blocks(page):
        if block.language == "python":
            pages.run(block, page, names)
    assert names["ant"].env.backend == "spring" and names["cartpole"].episode_length == 500
