import pytest

from rljax import tune
from rljax.experiments import config

TINY = """
env = "CartPole-v1"
total_env_steps = 640
[structure]
num_envs = 4
rollout_length = 8
num_epochs = 1
num_minibatches = 2
hidden = [8]
[evaluation]
episodes = 4
[logging]
interval_env_steps = 160
"""
SPACE = """
[sweep]
trials = 5
seeds = 2
batch = 2
devices = 2
[hparams]
lr = { low = 1e-4, high = 1e-1, scale = "log" }
gamma = { low = 0.9, high = 0.999 }
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The path of a config of 20 iterations, with a space of three batches beside it."""
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(TINY)
    path.with_name("tiny.sweep.toml").write_text(SPACE)
    return path


@pytest.fixture(scope="session")
def config_(tiny):
    return config.load(tiny)


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """A random sweep that nothing has interrupted; do not write into it."""
    return tune.run(tiny, run_dir=tmp_path_factory.mktemp("sweeps") / "finished")
