"""Runs on several devices: saved on some, taken up on others."""

import shutil

import numpy as np
import pytest
from states import arrays, digest

import rljax
from rljax.errors import RunError, UsageError
from rljax.experiments import config, experiment, metrics
from rljax.experiments.checkpoints import Checkpoints

RUN = {
    "env": "CartPole-v1",
    "agent": "dqn",
    "devices": 8,
    "total_env_steps": 64 * 7,
    "structure.num_envs": 8,
    "structure.rollout_length": 8,
    "structure.batch_size": 16,
    "structure.warmup_env_steps": 64,
    "structure.buffer_size": 128,
    "structure.prioritized": True,
    "structure.hidden": [8],
    "evaluation.episodes": 2,
    "evaluation.interval_env_steps": 64 * 7,
    "checkpoint.interval_env_steps": 64 * 4,
    "logging.interval_env_steps": 64,
    "logging.plot": False,
}

DQN_ONLY = ("batch_size", "warmup_env_steps", "buffer_size", "prioritized")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return experiment.start(config.resolve(RUN, {}), tmp_path_factory.mktemp("spread") / "run").run


@pytest.mark.parametrize(
    "count", [pytest.param(8, marks=pytest.mark.slow), 4, pytest.param(1, marks=pytest.mark.slow)]
)
@pytest.mark.long
def test_saved_on_eight_devices_it_goes_on_with_fewer(run, count, tmp_path):
    saved = digest(rljax.load(run.path)[1])
    copy = type(run)(tmp_path / "copy")
    shutil.copytree(run.path, copy.path)
    wanted = config.resolve({**RUN, "devices": count, "total_env_steps": 64 * 9}, {})
    agent = experiment.build(wanted)
    checkpoints = Checkpoints(copy.checkpoints, read_only=True)
    state, _ = checkpoints.restore_latest(experiment.template(wanted, agent))
    checkpoints.close()
    assert digest(state) == saved
    obs = state.worker.obs
    assert [shard.data.shape for shard in obs.addressable_shards] == [(8 // count, 4)] * count

    said = []
    outcome = experiment.resume(copy.path, report=said.append, config=wanted)
    assert int(outcome.state.iteration) == agent.num_iterations == 8
    assert (f"devices: 8 is now {count}" in said) == (count != 8)
    assert [row["iteration"] for row in metrics.read(copy.metrics)] == list(range(1, 9))
    assert rljax.load(copy.path)[0].env_steps_per_iteration == 64


@pytest.mark.long
def test_resumed_on_the_same_devices_it_is_bit_for_bit_what_it_would_have_been(run, tmp_path):
    copy = type(run)(tmp_path / "copy")
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.checkpoints / "6")
    experiment.resume(copy.path)
    assert digest(rljax.load(copy.path)[1]) == digest(rljax.load(run.path)[1])


@pytest.mark.slow
def test_seeds_spread_over_devices_are_the_seeds_of_one_device(tmp_path):
    own = [key for key in RUN if key.removeprefix("structure.") in DQN_ONLY]
    values = {key: value for key, value in RUN.items() if key not in own}
    values |= {"agent": "ppo", "num_seeds": 2, "total_env_steps": 128}
    spread = config.resolve({**values, "devices": 2, "spread": "seeds"}, {})
    outcome = experiment.start(spread, tmp_path / "spread")
    assert len(outcome.state.worker.obs.sharding.device_set) == 2
    alone = experiment.start(config.resolve({**values, "devices": 1}, {}), tmp_path / "alone")
    expected = arrays(alone.state.learner.params)
    for path, found in arrays(outcome.state.learner.params).items():
        np.testing.assert_allclose(found, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)
    _, state = rljax.load(outcome.run.path)
    assert state.iteration.tolist() == [2, 2]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"devices": -1}, "devices must be at least 0"),
        ({"devices": 9}, "9 devices are asked for"),
        ({"devices": 3}, "num_envs = 8 does not divide by the number of devices = 3"),
        ({"spread": "seed"}, "did you mean 'seeds'"),
        ({"spread": "seeds"}, "set num_seeds"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(values, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        experiment.start(config.resolve({**RUN, **values}, {}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_job_may_find_the_directory_but_no_run_in_it(tmp_path):
    wanted = config.resolve({**RUN, "devices": 1, "total_env_steps": 128}, {})
    experiment.start(wanted, tmp_path, may_exist=True)
    with pytest.raises(RunError, match="exists already"):
        experiment.start(wanted, tmp_path, may_exist=True)
