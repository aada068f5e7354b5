import shutil

import pytest

from rljax.experiments import config, experiment

TINY = {
    "env": "CartPole-v1",
    "num_seeds": 2,
    "total_env_steps": 32 * 12,
    "structure.num_envs": 4,
    "structure.rollout_length": 8,
    "structure.num_epochs": 1,
    "structure.num_minibatches": 2,
    "structure.hidden": [8],
    "evaluation.episodes": 4,
    "evaluation.interval_env_steps": 32 * 4,
    "checkpoint.interval_env_steps": 32 * 3,
    "logging.interval_env_steps": 32,
}


@pytest.fixture(scope="session")
def tiny():
    """A config of 12 iterations, with a row each, a checkpoint every 3, evaluated every 4."""
    return config.resolve(TINY, {})


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """A run trained to its end; do not write into it."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    return experiment.start(tiny, path, ["rljax", "train"]).run


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to do with as one likes."""
    shutil.copytree(finished.path, tmp_path / "copy")
    return type(finished)(tmp_path / "copy")
