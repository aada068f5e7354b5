import subprocess
import sys

import pytest

CHECK = """
import sys

import jax
import matplotlib.pyplot

modules = dict(sys.modules)


def program():
    draw = lambda key: jax.random.bits(jax.random.split(key)[0], (3,))
    return jax.jit(draw).lower(jax.random.key(0)).as_text()


before = program()
assert "while" in before, "JAX writes Threefry as a loop: else this test sees nothing"

import rljax

agent = rljax.ppo(
    rljax.make("CartPole-v1"), num_envs=4, rollout_length=8, hidden=(8,), total_env_steps=64
)
state, _ = rljax.train(agent, jax.random.key(0))
rljax.evaluate(agent, state, jax.random.key(1), 2)
assert state.key.dtype == jax.random.key(0).dtype
assert program() == before, "JAX lowers its random numbers in another way"
changed = [name for name, module in modules.items() if sys.modules.get(name) is not module]
assert not changed, changed

from gymnax.environments.misc import pong

assert pong.sns is sys.modules["seaborn"] and type(pong.sns) is type(sys)
"""


@pytest.mark.long
def test_training_leaves_jax_and_imported_modules_as_they_were():
    subprocess.run([sys.executable, "-c", CHECK], check=True)
