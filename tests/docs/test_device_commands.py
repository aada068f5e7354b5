"""The commands for several devices in the tutorial and in devices.md, run, only shorter."""

import os
import subprocess
import sys
from pathlib import Path

import pages
import pytest

TUTORIAL = pages.commands(pages.ROOT / "docs/tutorial.md", "Several devices, and many machines")
LAPTOP = pages.commands(pages.ROOT / "docs/devices.md", "A laptop")
COMMANDS = [*dict.fromkeys(TUTORIAL + LAPTOP)]
SHORT = (
    " --total-env-steps 2048 --structure.num-envs 8 --structure.hidden '[8]'"
    " --structure.num-epochs 1 --structure.num-minibatches 1 --evaluation.episodes 2"
    " --logging.plot false"
)
# What Slurm tells the only task of a job.
SLURM = {
    "SLURM_JOB_ID": str(os.getpid()),  # JAX makes a port of it
    "SLURM_STEP_NODELIST": "127.0.0.1",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=pytest.mark.slow) if "--devices 4 " in c else c for c in COMMANDS],
)
@pytest.mark.long
def test_it_trains(command, tmp_path):
    for name in ("configs", "scripts"):
        (tmp_path / name).symlink_to(pages.ROOT / name)
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    if "--distributed" in command:
        environment |= SLURM
    done = subprocess.run(
        command + SHORT, shell=True, cwd=tmp_path, env=environment, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    [run] = (tmp_path / "runs").iterdir()
    assert (run / "evaluation.json").exists()


def test_they_are_four():
    assert len(COMMANDS) == 4
