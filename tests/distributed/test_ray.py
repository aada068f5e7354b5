"""Actors as processes of Ray."""

import os
import signal
import subprocess
import sys
import threading
import time

import jax
import pages
import pytest
from states import different_leaves
from walks import walks

import rljax
from rljax.errors import RunError, UsageError

ray = pytest.importorskip("ray")

ACTOR = "ray::Host"
SIZES = {"num_envs": 4, "rollout_length": 4, "total_env_steps": 96, "hidden": (8,)}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all tests of this file: starting it takes seconds."""
    paths = os.pathsep.join(path for path in sys.path if path)
    runtime = {"env_vars": {"PYTHONPATH": paths}}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def on_threads():
    return rljax.train(rljax.a2c(walks(), **SIZES), jax.random.key(0))[0]


@pytest.mark.long
def test_ray_and_threads_give_the_same_bits(on_threads):
    agent = rljax.distribute(rljax.a2c(walks(), **SIZES), 2, "ray")
    state, history = rljax.train(agent, jax.random.key(0))
    assert not different_leaves(state, on_threads)
    assert history["charts/actor_failures"].sum() == 0


@pytest.mark.long
def test_contributions_of_ray_and_of_threads_are_the_same_bits():
    agent = rljax.a3c(walks(), **SIZES)
    state = rljax.train(rljax.distribute(agent, 1, "ray"), jax.random.key(0))[0]
    assert not different_leaves(state, rljax.train(agent, jax.random.key(0))[0])


def processes(pattern: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


def gone(pattern: str, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while processes(pattern) and time.monotonic() < end:
        time.sleep(0.2)
    return not processes(pattern)


@pytest.mark.long
def test_a_killed_process_is_replaced_and_none_is_left_behind():
    killed = []

    def kill_one(state, row):
        if row["iteration"] == 2:
            killed.extend(processes(ACTOR)[:1])
            os.kill(killed[0], signal.SIGKILL)

    agent = rljax.distribute(rljax.a2c(walks(), **SIZES), 2, "ray")
    with pytest.warns(UserWarning, match=r"actor \d failed and is replaced"):
        state, history = rljax.train(agent, jax.random.key(0), hooks=[kill_one])
    assert killed and int(state.iteration) == 6
    assert history["charts/actor_failures"].sum() == 1
    assert gone(ACTOR)


@pytest.mark.long
def test_the_error_of_a_simulator_is_named():
    agent = rljax.distribute(rljax.a2c(walks(fails_at=1), **SIZES), 1, "ray")
    with pytest.raises(RunError, match="RuntimeError: the walk fell over"), pytest.warns():
        rljax.train(agent, jax.random.key(0))


@pytest.mark.long
def test_a_simulator_that_cannot_be_sent_is_named():
    lock = threading.Lock()
    agent = rljax.a2c(walks(lives=[lock]), **SIZES)
    with pytest.raises(UsageError, match="cannot be pickled"):
        rljax.train(rljax.distribute(agent, 1, "ray"), jax.random.key(0))


@pytest.mark.long
def test_more_actors_than_processors_are_refused():
    agent = rljax.distribute(rljax.a2c(walks(), **{**SIZES, "num_envs": 8}), 8, "ray")
    with pytest.raises(UsageError, match="make actors at most 4"):
        rljax.train(agent, jax.random.key(0))


@pytest.mark.long
def test_ctrl_c_saves_and_ends_every_process(tmp_path):
    """Of a run of the command line, with a Ray of its own."""
    words = ["train", "configs/impala/gymnasium_cartpole.toml", "--actors", "2", "--driver", "ray"]
    words += ["--run-dir", str(tmp_path / "run"), "--logging.plot", "false"]
    run = subprocess.Popen(
        [sys.executable, "-m", "rljax", *words],
        cwd=pages.ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_ADDRESS": "local", "PYTHONPATH": str(pages.ROOT)},
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "steps/s" in line:
            break
    mine = set(processes("raylet")) | set(processes(ACTOR))
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=120) == 128 + signal.SIGINT
    assert "stopped by SIGINT; saved" in run.stderr.read()
    end = time.monotonic() + 30
    while mine & set(processes(ACTOR)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not mine & set(processes(ACTOR))
