"""What starts jobs: the files of scripts/jobs, launch_local.py, and the page that explains them."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pages
import pytest
import yaml

from rljax.cli.common import parse
from rljax.cli.train import train
from rljax.experiments import config

ROOT = pages.ROOT
JOBS = sorted((ROOT / "scripts/jobs").iterdir())
SCRIPTS = [path for path in JOBS if path.suffix == ".sh"]
PAGE = ROOT / "docs/devices.md"


KUBERNETES = {
    document["kind"]: document
    for document in yaml.safe_load_all((ROOT / "scripts/jobs/kubernetes.yaml").read_text())
}
JOBSET = KUBERNETES["JobSet"]["spec"]
(REPLICATED,) = JOBSET["replicatedJobs"]
JOB = REPLICATED["template"]["spec"]
POD = JOB["template"]["spec"]
(CONTAINER,) = POD["containers"]


# The command lines that people copy.


def command_lines(path):
    """The words behind each `rljax train` of a file."""
    if path.suffix == ".yaml":
        words = [*CONTAINER["command"], *CONTAINER["args"]]
        assert words[:2] == ["rljax", "train"]
        return [words[2:]]
    text = path.read_text().replace("\\\n", " ")
    lines = re.findall(r"rljax train\b([^`\n#&|;\"']*)", text)
    return [shlex.split(line) for line in lines + re.findall(r"launch_local\.py .*?-- (.*)", text)]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=f"{path.name}: {' '.join(words)}")
        for path in [*JOBS, ROOT / "README.md", PAGE]
        for words in command_lines(path)
    ],
)
def test_every_command_line_is_one_that_rljax_understands(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    rest = train.make_context("rljax train", list(words)).params["words"]
    path, flags = parse("CONFIG", rest)
    if "CONFIG" in path:  # A placeholder: the keys are real all the same.
        path, flags = "configs/ppo/cartpole.toml", dict.fromkeys(flags, "1")
    if path.startswith("runs/"):  # What a command before it wrote.
        path = "configs/ppo/cartpole.toml"
    config.load(path, flags)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_is_one_command_line_that_starts_and_resumes(path):
    (words,) = command_lines(path)
    assert {"--distributed", "--run-dir", "--resume"} <= set(words)


# Slurm and Cloud TPU.


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid_bash(path):
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True, timeout=10)


def script(path, tmp_path, **programs):
    """Run a job's script where the scheduler's programs are bash lines that are stand-ins."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()
    for name, body in programs.items():
        program = tmp_path / name
        program.write_text(f"#!/usr/bin/env bash\n{body}\n")
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    return lambda **variables: subprocess.run(
        ["bash", path],
        cwd=tmp_path,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=10,
    )


@pytest.mark.parametrize(
    "code, restarts, again",
    [(0, 0, False), (2, 0, False), (3, 0, False), (143, 0, True), (143, 99, True)]
    + [(4, 0, True), (137, 19, True), (4, 20, False)],
)
def test_a_slurm_job_goes_back_into_the_queue_when_that_helps(code, restarts, again, tmp_path):
    run = script(
        ROOT / "scripts/jobs/slurm.sh", tmp_path, srun=f"exit {code}", scontrol='echo "scontrol $*"'
    )
    found = run(SLURM_RESTART_COUNT=str(restarts))
    assert found.returncode == code and not found.stderr
    assert ("scontrol requeue 7" in found.stdout) == again


def test_a_slurm_task_is_started_for_each_gpu_and_has_its_signal(tmp_path):
    path = ROOT / "scripts/jobs/slurm.sh"
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", path.read_text(), re.M))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert "gpus-per-task" not in options and "requeue" in options
    assert re.fullmatch(r"TERM@\d+", options["signal"])
    called = script(path, tmp_path, srun='echo "$@"')(SLURM_CPUS_PER_TASK="8").stdout.split()
    assert called[:4] == ["--kill-on-bad-exit=0", "--cpus-per-task=8", "rljax", "train"]


def test_a_tpu_job_runs_one_line_on_all_hosts(tmp_path):
    path = ROOT / "scripts/jobs/tpu.sh"
    called = script(path, tmp_path, gcloud='for word; do echo "<$word>"; done')().stdout
    assert "<--worker=all>" in called
    (line,) = re.findall(r"<--command=(.*?)>", called, re.S)
    subprocess.run(["bash", "-n", "-c", line], check=True, timeout=10)
    assert "--run-dir /" in line and "$" not in line


# Kubernetes.


def test_a_kubernetes_job_is_one_indexed_job_that_restarts_as_a_whole():
    assert REPLICATED["replicas"] == 1 and JOB["completionMode"] == "Indexed"
    assert JOB["parallelism"] == JOB["completions"] > 1
    assert JOB["backoffLimit"] == 0 and JOBSET["failurePolicy"]["maxRestarts"] > 0
    assert POD["restartPolicy"] == "Never" and POD["terminationGracePeriodSeconds"] >= 60
    assert "network" not in JOBSET  # JAX expects the subdomain that is the default.


def test_a_kubernetes_job_stays_down_after_a_mistake_and_only_then():
    (rule,) = JOBSET["failurePolicy"]["rules"]
    assert rule == {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    (rule,) = JOB["podFailurePolicy"]["rules"]
    codes = {"containerName": CONTAINER["name"], "operator": "In", "values": [2, 3]}
    assert rule == {"action": "FailJob", "onExitCodes": codes}


def test_kubernetes_lets_jax_read_what_it_finds_its_peers_by():
    verbs = {
        (group, resource): set(rule["verbs"])
        for rule in KUBERNETES["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert verbs["", "pods"] >= {"list"} and verbs["batch", "jobs"] >= {"get"}
    account = KUBERNETES["ServiceAccount"]["metadata"]["name"]
    binding = KUBERNETES["RoleBinding"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert binding["roleRef"]["name"] == KUBERNETES["Role"]["metadata"]["name"]
    assert POD["serviceAccountName"] == account


def test_the_run_directory_of_a_kubernetes_job_is_on_its_shared_volume():
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    run = Path(CONTAINER["args"][CONTAINER["args"].index("--run-dir") + 1])
    assert "persistentVolumeClaim" in volumes[mounts[str(run.parent)]]


# Processes of one machine.


class Launched:
    """`launch` in a process of its own; each command is a line of Python."""

    def __init__(self, *lines, grace_s=30.0):
        commands = [[sys.executable, "-c", "import os, signal, sys, time\n" + x] for x in lines]
        code = f"import sys, launch_local; sys.exit(launch_local.launch({commands}, {grace_s}))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        )

    def wait(self):
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out.splitlines()

    def until(self, lines):
        """Wait for as many lines of output."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline() for _ in range(lines)]


@pytest.fixture
def launch():
    """`Launched`, none of which outlives the test."""
    started = []

    def start(*lines, **options):
        started.append(Launched(*lines, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()


def test_lines_say_which_process_they_are_from(launch):
    code, lines = launch("print('out\\nand')", "print('err', file=sys.stderr)").wait()
    assert code == 0 and sorted(lines) == ["[0] and", "[0] out", "[1] err"]


@pytest.mark.parametrize(
    "lines, expected",
    [
        (("", "sys.exit(4)"), 4),
        (("time.sleep(0.5); sys.exit(4)", "sys.exit(3)"), 3),
        (("os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(0.5); sys.exit(4)"), 137),
    ],
)
def test_the_exit_code_is_that_of_the_first_to_fail(launch, lines, expected):
    assert launch(*lines).wait()[0] == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_process(launch, number):
    line = (
        f"signal.signal({number:d}, lambda *_: sys.exit(128 + {number:d}))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30); sys.exit(1)"
    )
    launched = launch(line, line)
    launched.until(lines=2)
    launched.process.send_signal(number)
    assert launched.wait()[0] == 128 + number


def test_who_survives_a_failure_for_too_long_is_killed(launch):
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(30)"
    assert launch("sys.exit(4)", stubborn, grace_s=0.3).wait()[0] == 4


def test_all_end_when_nobody_reads_their_lines(launch):
    launched = launch("while True: print('line', flush=True)")
    launched.until(lines=1)
    launched.process.stdout.close()
    assert launched.process.wait(30) == 1


def test_processes_are_told_about_each_other(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    launch_local = pytest.importorskip("launch_local")
    seen = []
    monkeypatch.setattr(launch_local, "launch", lambda commands: seen.extend(commands) or 143)
    monkeypatch.setattr(os, "environ", {})
    options = ["--num-processes=2", "--devices-per-process=4", "--"]
    monkeypatch.setattr(sys, "argv", ["launch_local.py", *options, "x.toml", "--seed", "3"])
    assert launch_local.main() == 143
    assert os.environ == {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    told = [train.make_context("rljax train", list(words[4:])).params for words in seen]
    assert [t["process_id"] for t in told] == [0, 1]
    assert {t["num_processes"] for t in told} == {2}
    assert len({t["coordinator"] for t in told}) == 1
    assert [list(t["words"]) for t in told] == [["x.toml", "--seed", "3"]] * 2


# The page.


CHECK = """
state, metrics = jax.eval_shape(lambda key: split.step(split.init(key)), jax.random.key(0))
assert "replicas/differ" in metrics
"""


@pytest.mark.long
def test_the_code_of_the_page_runs():
    code = "".join(pages.code(PAGE))
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    subprocess.run([sys.executable, "-c", code + CHECK], check=True, timeout=120, env=environment)
