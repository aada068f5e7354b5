import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from states import digest

import rljax
from rljax.cli import main
from rljax.cli.common import parse
from rljax.experiments import directory, experiment, metrics

CONFIG = """
env = "CartPole-v1"
total_env_steps = 3840
[structure]
num_envs = 4
rollout_length = 8
num_epochs = 1
num_minibatches = 2
hidden = [8]
[evaluation]
episodes = 2
[checkpoint]
interval_env_steps = 640
[logging]
interval_env_steps = 32
plot = false
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """A run of three seeds, trained by the command line."""
    path = tmp_path_factory.mktemp("cli") / "run"
    flags = ["--num-seeds", "3", "--total-env-steps=640", "--logging.plot", "true"]
    assert main(["train", str(config), "--run-dir", str(path), *flags]) == 0
    return path


def command(*arguments):
    return [sys.executable, "-m", "rljax", *map(str, arguments)]


def test_train_leaves_a_run_that_describes_itself(run):
    names = {p.name for p in run.iterdir()}
    assert {"config.toml", "command.txt", "system.json", "metrics.jsonl", "curve.png"} <= names
    assert "num_seeds = 3 # command line" in (run / "config.toml").read_text()
    assert Image.open(run / "curve.png").size[0] > 600
    assert metrics.read(run / "metrics.jsonl")[-1]["env_steps"] == 640


def test_a_cpu_is_as_many_devices_as_it_has_cores_unless_it_is_said():
    program = (
        "from rljax.cli import common; common.use_all_cores(); import jax; print(jax.devices())"
    )
    for given in ({}, {"JAX_NUM_CPU_DEVICES": "3"}):
        environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"} | given
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        there = int(given.get("JAX_NUM_CPU_DEVICES", len(os.sched_getaffinity(0))))
        assert done.stdout.count("id=") == there


def test_eval_prints_one_json_object(run, capsys):
    assert main(["eval", str(run), "--episodes", "4", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert {"mean", "iqm", "worst", "seeds", "episodes", "returns"} <= set(summary)
    assert summary["training_env_steps"] == 640 and "env_steps" not in summary
    assert summary["evaluation_env_steps"] == sum(map(sum, summary["returns"]))  # 1 for each step
    assert summary.keys() == json.loads((run / "evaluation.json").read_text()).keys()
    assert summary["episodes"] == 12 and len(summary["returns"]) == len(summary["seeds"]) == 3


def test_eval_says_each_seed(run, capsys):
    assert main(["eval", str(run), "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count("\n") == 4


def test_play_draws_an_episode(run, tmp_path, capsys):
    out = tmp_path / "play.gif"
    assert main(["play", str(run), "--out", str(out), "--member", "2"]) == 0
    frames = Image.open(out).n_frames
    assert f"{frames} steps, return {frames}" in capsys.readouterr().out


@pytest.mark.long
def test_eval_says_how_often_the_goal_was_reached(walk, capsys):
    assert main(["eval", str(walk), "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count("success 0.0%") == 3
    last = metrics.read(walk / "metrics.jsonl")[-1]
    assert last["evaluation/success_rate"] == [0.0, 0.0]
    assert json.loads((walk / "evaluation.json").read_text())["success_rate"] == 0.0


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A run of two seeds with two tables each, on a map."""
    path = tmp_path_factory.mktemp("cli") / "walk"
    config = path.with_suffix(".toml")
    config.write_text('env = "FrozenLake4x4"\nagent = "double_q_learning"\nnum_seeds = 2\n')
    flags = ["--total-env-steps", "320", "--evaluation.episodes", "1", "--logging.plot", "false"]
    assert main(["train", str(config), "--run-dir", str(path), *flags]) == 0
    return path


def test_play_draws_an_episode_on_a_map(walk, tmp_path, capsys):
    out = tmp_path / "play.GIF"
    assert main(["play", str(walk), "--out", str(out)]) == 0
    gif = Image.open(out)
    assert f"{gif.n_frames} steps, return 0" in capsys.readouterr().out
    assert gif.info["duration"] == 250


@pytest.mark.long
def test_a_game_of_several_agents_is_trained_evaluated_and_drawn(tmp_path, capsys):
    run, config, out = tmp_path / "run", tmp_path / "game.toml", tmp_path / "game.gif"
    config.write_text(
        'env = "PrisonersDilemma"\nagent = "iql"\ntotal_env_steps = 400\n'
        "[structure]\nwarmup_env_steps = 100\nhidden = [8]\n"
    )
    assert main(["train", str(config), "--run-dir", str(run)]) == 0
    assert main(["play", str(run), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["eval", str(run), "--episodes", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["agents"]) == len(found["teams"]) == 2
    assert found["mean"] == pytest.approx(sum(found["agents"]) / 2)
    with Image.open(out) as picture:
        assert picture.n_frames == 1


def test_play_draws_a_table(walk, tmp_path, capsys):
    out = tmp_path / "table.png"
    assert main(["play", str(walk), "--out", str(out), "--member", "1"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["table.png"]
    assert Image.open(out).size[0] > 400


def test_plot_draws_several_runs(run, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    assert main(["plot", str(run), str(tmp_path / "other"), "--out", str(tmp_path / "p.png")]) == 0
    assert Image.open(tmp_path / "p.png").size[0] > 600


def test_a_run_without_rows_can_be_drawn(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").write_text("")
    assert main(["plot", str(tmp_path / "run"), "--out", str(tmp_path / "p.png")]) == 0


def test_list_names_agents_and_environments(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "ppo" in out and "FrozenLake-misc" in out
    assert all(f"  {suite}/...: " in out for suite in ("gymnasium", "envpool", "atari"))


def test_doctor_tells_versions_and_devices(capsys):
    main(["doctor"])
    out = capsys.readouterr().out
    assert "devices: cpu" in out and "jax: 0." in out


def test_flags_may_stand_before_the_config():
    words = ["--seed", "3", "x.toml", "--structure.clip-value", "--hparams.gae-lambda=0.9"]
    flags = {"seed": "3", "structure.clip_value": "true", "hparams.gae_lambda": "0.9"}
    assert parse("CONFIG", words) == ("x.toml", flags)


REFUSED = [
    (["trian"], 2, "did you mean 'train'"),
    (["train", "nowhere.toml"], 2, "nowhere.toml does not exist"),
    (["train", "--seed", "1"], 2, "CONFIG is missing"),
    (["train", "{config}", "--sed", "1"], 2, "did you mean '--seed'"),
    (["train", "{config}", "--structure.num-env", "1"], 2, "did you mean '--structure.num-envs'"),
    (["train", "{config}", "--env", "CartPole"], 2, "did you mean 'CartPole-v1'"),
    (["train", "{config}", "--agent", "pp"], 2, "did you mean 'ppo'"),
    (["train", "{config}", "--structure.num-minibatches", "3"], 2, "num_minibatches 2 or 4"),
    (["train", "{config}", "--structure.network", "cnn"], 2, "network 'cnn' needs"),
    (["train", "{config}", "stray"], 2, "'stray' is neither a flag nor"),
    (["train", "{config}", "--run-dir", "{run}"], 1, "exists already"),
    (["resume", "{run}", "--hparams.lr", "1"], 2, "cannot change hparams.lr"),
    (["resume", "nowhere"], 1, "run nowhere does not exist"),
    (["eval", "{run}", "--episode", "3"], 2, "did you mean '--episodes'"),
    (["eval", "{run}", "--episodes", "0"], 2, "--episodes must be at least 1"),
    (["eval", "nowhere"], 1, "run nowhere does not exist"),
    (["play", "{run}", "--out", "a.mp4"], 2, "a .gif (an episode) or a .png (a table)"),
    (["play", "{run}", "--out", "gif"], 2, "a .gif (an episode) or a .png (a table)"),
    (["play", "{run}", "--out", "a.png"], 2, "ppo keeps no table to draw; these do: double_q"),
    (["play", "{walk}", "--out", "a.png", "--member", "2"], 2, "0 to 1"),
    (["play", "{walk}", "--out", "nowhere/a.png"], 1, "nowhere/a.png cannot be written"),
    (["play", "{walk}", "--out", "nowhere/a.gif"], 1, "nowhere/a.gif cannot be written"),
    (["play", "{run}", "--out", "a.gif", "--max-steps", "0"], 2, "x>=1"),
    (["play", "{run}", "--out", "a.gif", "--member", "3"], 2, "0 to 2"),
    (["plot", "{run}", "--out", "a.pdf"], 2, ".png"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSED, ids=lambda x: str(x)[:40])
def test_bad_input_is_one_line_and_creates_nothing(
    arguments, code, said, config, run, walk, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main([a.format(config=config, run=run, walk=walk) for a in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("rljax: ") and said in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_modules_of_the_current_directory_register_environments(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    # As the script `rljax`, whose directory is not the current one.
    program = [sys.executable, "-P", "-c", "from rljax.cli import main; exit(main())"]
    done = subprocess.run(
        [*program, "check-env", "gymnasium/mine:Mine-v0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(rljax.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert "No module" not in done.stderr and "Mine-v0" in done.stdout, done.stderr


def test_an_environment_that_cannot_be_drawn_is_refused_by_name(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    text = (tmp_path / "run/config.toml").read_text().replace("CartPole-v1", "Reacher-misc")
    (tmp_path / "run/config.toml").write_text(text)
    assert main(["play", str(tmp_path / "run"), "--out", str(tmp_path / "a.gif")]) == 2
    assert "Reacher-misc cannot be drawn; these can: " in capsys.readouterr().err


def test_a_table_without_a_map_is_refused_before_the_checkpoint_is_read(walk, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    text = (walk / "config.toml").read_text().replace("FrozenLake4x4", "CartPole-v1")
    (tmp_path / "run/config.toml").write_text(text)
    assert main(["play", str(tmp_path / "run"), "--out", str(tmp_path / "a.png")]) == 2
    assert "CartPole-v1 has no map to draw a table on" in capsys.readouterr().err


def test_help_answers_at_once():
    subprocess.run(command("--help"), check=True, capture_output=True)
    began = time.perf_counter()
    done = subprocess.run(command("--help"), check=True, capture_output=True, text=True)
    assert time.perf_counter() - began < 1.0  # 0.1 s alone on a machine; tests run beside others
    assert all(word in done.stdout for word in ("train", "resume", "eval", "play", "plot"))


def wait_for_rows(process, path: Path, count: int) -> None:
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"ended before row {count}: {process.stderr.read()}")


def comparable(path):
    rows = metrics.read(path / "metrics.jsonl")
    rows = [{k: v for k, v in row.items() if k != "charts/SPS"} for row in rows]
    return rows, digest(experiment.load(path)[1])


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", str(config), "--run-dir", str(path)]) == 0
    return path


def killed_and_resumed(config, path, kill_at_rows):
    """Start a run, kill -9 it whenever it has so many rows, resume it each time, to its end."""
    arguments = ("train", config, "--run-dir", path)
    for count in kill_at_rows:
        process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
        wait_for_rows(process, path / "metrics.jsonl", count)
        process.kill()
        process.wait()
        arguments = ("resume", path)
    assert main(["resume", str(path)]) == 0


@pytest.mark.long
def test_killed_at_any_moment_and_resumed_ends_bit_for_bit_the_same(
    config, uninterrupted, tmp_path
):
    killed_and_resumed(config, tmp_path / "run", [1, 47, 90])
    assert comparable(tmp_path / "run") == comparable(uninterrupted)


@pytest.mark.slow
def test_killed_twenty_times(config, uninterrupted, tmp_path):
    killed_and_resumed(config, tmp_path / "run", range(3, 119, 6))
    assert comparable(tmp_path / "run") == comparable(uninterrupted)


@pytest.mark.long
def test_sigterm_saves_and_exits_with_its_code(config, uninterrupted, tmp_path):
    path = tmp_path / "run"
    process = subprocess.Popen(
        command("train", config, "--run-dir", path), stderr=subprocess.PIPE, text=True
    )
    wait_for_rows(process, path / "metrics.jsonl", 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert "rljax resume" in process.stderr.read()
    last = metrics.read(path / "metrics.jsonl")[-1]["iteration"]
    assert (directory.find(path).checkpoints / str(last)).is_dir()
    assert main(["resume", str(path)]) == 0
    assert comparable(path) == comparable(uninterrupted)


def test_secrets_in_the_environment_stay_out_of_the_run(config, tmp_path, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "hunter2-secret")
    path = tmp_path / "run"
    assert main(["train", str(config), "--run-dir", str(path), "--total-env-steps", "32"]) == 0
    for file in path.rglob("*"):
        assert not file.is_file() or b"hunter2-secret" not in file.read_bytes()
    assert "API_TOKEN" in os.environ
