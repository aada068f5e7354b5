"""Two processes that make one run, as two hosts would, over loopback."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from states import different_leaves

import rljax

CONFIG = """
env = "CartPole-v1"
agent = "{agent}"
total_env_steps = 6_400
[structure]
num_envs = 8
hidden = [8]
{structure}
[evaluation]
episodes = 2
interval_env_steps = 6_400
[checkpoint]
interval_env_steps = 1_280
[logging]
interval_env_steps = 640
plot = false
"""
STRUCTURE = {
    "ppo": "rollout_length = 16\nnum_epochs = 1\nnum_minibatches = 1",
    "dqn": "rollout_length = 16\nbatch_size = 16\nwarmup_env_steps = 128\nprioritized = true",
}
PATIENCE = 150  # seconds, on a machine that is busy with something else
pytestmark = pytest.mark.timeout(4 * PATIENCE)


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def launch(*arguments: str, devices: int = 1) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": str(devices),
        # What hangs should end soon.
        "XLA_FLAGS": "--xla_cpu_collective_call_terminate_timeout_seconds=60",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "rljax", "train", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pair(*arguments: str, second: tuple[str, ...] | None = None) -> list[subprocess.Popen]:
    address = free_address()
    joined = ["--coordinator", address, "--num-processes", "2", "--process-id"]
    return [
        launch(*arguments, *joined, "0"),
        launch(*(second or arguments), *joined, "1"),
    ]


def finish(*processes: subprocess.Popen) -> list[tuple[int, str]]:
    """Exit code and output of each; all are killed if one does not end in time."""
    try:
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, output) for p, output in zip(processes, outputs, strict=True)]


def rows(run: Path) -> list[dict]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def await_rows(run: Path, count: int, processes: list[subprocess.Popen]) -> None:
    give_up = time.monotonic() + PATIENCE
    while len(rows(run)) < count:
        alive = all(process.poll() is None for process in processes)
        if not alive or time.monotonic() > give_up:
            pytest.fail(str(finish(*processes)))
        time.sleep(0.05)


def curves(run: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "charts/SPS"} for row in rows(run)]


@pytest.fixture(scope="module", params=["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def experiment(request, tmp_path_factory) -> tuple[str, Path]:
    """A config, and the run that one process with two devices makes of it."""
    place = tmp_path_factory.mktemp(request.param)
    config = place / "config.toml"
    structure = STRUCTURE[request.param]
    config.write_text(CONFIG.format(agent=request.param, structure=structure))
    whole = place / "whole"
    [(code, output)] = finish(
        launch(str(config), "--devices", "0", "--run-dir", str(whole), devices=2)
    )
    assert code == 0, output
    return str(config), whole


def kill_one(first, second):
    second.kill()
    killed = time.monotonic()
    [(code, output), _] = finish(first, second)
    assert time.monotonic() - killed < 60
    # Either we are first to say so, or JAX, which aborts.
    assert code in (4, -signal.SIGABRT), output
    assert re.search(r"rljax: lost process 1|unhealthy \(stopped sending heartbeats\):\s+1", output)


def terminate_one(first, second):
    second.send_signal(signal.SIGTERM)
    for code, output in finish(first, second):
        assert code == 128 + signal.SIGTERM, output


@pytest.mark.long
@pytest.mark.parametrize("stop", [kill_one, pytest.param(terminate_one, marks=pytest.mark.slow)])
def test_stopped_and_resumed_two_processes_end_as_one_with_two_devices(experiment, tmp_path, stop):
    config, whole = experiment
    run = tmp_path / "run"
    again = (config, "--run-dir", str(run), "--resume", "auto")
    processes = pair(*again)
    await_rows(run, 3, processes)
    stop(*processes)
    for code, output in finish(*pair(*again)):
        assert code == 0, output
    assert not different_leaves(rljax.load(run)[1], rljax.load(whole)[1])
    assert curves(run) == curves(whole)


@pytest.mark.parametrize("experiment", ["ppo"], indirect=True)
@pytest.mark.long
def test_processes_with_different_configs_are_told_apart_before_training(experiment, tmp_path):
    config, _ = experiment
    run = ("--run-dir", str(tmp_path / "run"))
    for code, output in finish(*pair(config, *run, second=(config, *run, "--hparams.lr", "1e-3"))):
        assert code == 2, output
        found = re.search(r"process 1 .* config \((\w+)\) than process 0 \((\w+)\)", output)
        assert found and found.group(1) != found.group(2), output
    assert not (tmp_path / "run").exists()


def test_a_coordinator_that_does_not_answer_is_named(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(agent="ppo", structure=""))
    address = free_address()
    [(code, output)] = finish(
        launch(
            *(str(config), "--run-dir", str(tmp_path / "run"), "--join-timeout", "1"),
            *("--coordinator", address, "--num-processes", "2", "--process-id", "1"),
        )
    )
    assert code == 1
    assert f"coordinator {address} did not answer within 1 s" in output
