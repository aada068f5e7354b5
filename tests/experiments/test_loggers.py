"""Loggers, with the real packages, offline."""

import csv
import importlib.util
import io
import json
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import events
import numpy as np
import pytest

from rljax.cli import main
from rljax.errors import RunError, UsageError
from rljax.experiments import config, experiment, loggers, logging_tools, metrics
from rljax.experiments.loggers import Logger
from rljax.training.rows import Row

NAMES = list(config.LOGGERS)
EXTERNAL = ["mlflow", "tensorboard", "wandb"]
CONFIG = {"env": "CartPole-v1", "structure.hidden": (8, 8), "hparams.lr": 0.25, "absent": None}
SECRET = "5ec4e7" * 6 + "beef"  # 40 characters, as W&B's keys have
KEPT = ["env_steps", "iteration", "losses/td_loss", "evaluation/return_mean"]


def row(iteration: int) -> Row:
    """A row of two seeds; every third is evaluated, and the second seed has no return yet."""
    row: Row = {
        "env_steps": 32 * iteration,
        "iteration": iteration,
        "losses/td_loss": [1.0 * iteration, 3.0 * iteration],
        "charts/episodic_return": [2.0 * iteration, None],
        "charts/episodic_length": [None, None],
    }
    if iteration % 3 == 0:
        row["evaluation/return_mean"] = [10.0 * iteration, 30.0 * iteration]
    return row


ROWS = [row(i) for i in range(1, 8)]
EXPECTED = {
    "env_steps": {32 * i: 32 * i for i in range(1, 8)},
    "iteration": {32 * i: i for i in range(1, 8)},
    "losses/td_loss": {32 * i: 2 * i for i in range(1, 8)},
    "charts/episodic_return": {32 * i: 2 * i for i in range(1, 8)},
    "evaluation/return_mean": {32 * i: 20 * i for i in (3, 6)},
    "evaluation/return_mean/min": {32 * i: 10 * i for i in (3, 6)},
    "evaluation/return_mean/max": {32 * i: 30 * i for i in (3, 6)},
}


@pytest.fixture(scope="module")
def database():
    """A file in memory where that is possible: to make its tables, MLflow often awaits the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "mlflow.db"


@pytest.fixture(autouse=True)
def offline(monkeypatch, database):
    pytest.importorskip("tensorboardX")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")


def mlflow_run(folder):
    from mlflow import MlflowClient

    return MlflowClient(), (folder / "mlflow_run_id").read_text().strip()


def wandb_records(folder):
    """Of the latest of the run's segments."""
    (run_id,) = (folder / "wandb" / "run_id").read_text().split()
    *_, latest = sorted(folder.glob("wandb/offline-run-*"), key=lambda p: p.stat().st_mtime_ns)
    for _ in range(500):  # A process of wandb's own writes it, and may not have come to the end.
        records = list(events.wandb(latest / f"run-{run_id}.wandb"))
        if records and records[-1].WhichOneof("record_type") == "exit":
            break
        time.sleep(0.02)
    return records


def read(name, folder):
    """What a tool shows, {metric: [(step, value), ...]} in the order of its files."""
    if name == "tensorboard":
        return {k: v for k, v in events.tensorboard(folder / name).items() if k[0] != "_"}
    found: dict = {}
    if name == "mlflow":
        client, run_id = mlflow_run(folder)
        for key in client.get_run(run_id).data.metrics:
            history = client.get_metric_history(run_id, key)
            found[key] = [(point.step, point.value) for point in history]
    if name == "wandb":
        for record in wandb_records(folder):
            items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
            for key, value in items.items():
                if key[0] != "_":
                    found.setdefault(key, []).append((record.history.step.num, json.loads(value)))
    return found


@pytest.mark.parametrize("name", EXTERNAL)
@pytest.mark.long
def test_every_row_is_there_once_after_a_crash_and_a_resume(name, tmp_path):
    crashed = Logger(name, tmp_path, CONFIG)
    for row in ROWS[:5]:
        crashed(None, row)
    if name == "wandb":  # It allows a process no two runs of one name.
        crashed.close()
    with Logger(name, tmp_path, CONFIG, ROWS[:3]) as log:
        for row in ROWS[3:]:
            log(None, row)
    found = read(name, tmp_path)
    assert {key: [step for step, _ in points] for key, points in found.items()} == {
        key: list(points) for key, points in EXPECTED.items()
    }
    assert {key: dict(points) for key, points in found.items()} == EXPECTED


def test_a_csv_has_a_line_for_each_member_and_grows_columns(tmp_path):
    with Logger("csv", tmp_path) as log:
        for row in ROWS[:5]:
            log(None, row)
    with Logger("csv", tmp_path, rows=ROWS[:2]) as log:
        for row in ROWS[2:]:
            log(None, row)
        assert (tmp_path / "metrics.csv").read_text().count("\n") == 1 + 2 * len(ROWS)
    with (tmp_path / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0])[:3] == ["member", "env_steps", "iteration"]
    assert [(int(x["env_steps"]), int(x["member"])) for x in lines] == [
        (32 * i, member) for i in range(1, 8) for member in (0, 1)
    ]
    assert [x["evaluation/return_mean"] for x in lines[2:6]] == ["", "", "30.0", "90.0"]
    assert [x["charts/episodic_return"] for x in lines[:2]] == ["2.0", ""]


def test_a_csv_of_one_seed_has_a_line_for_each_row(tmp_path):
    alone = {"env_steps": 32, "iteration": 1, "charts/SPS": 12.5, "charts/episodic_return": None}
    with Logger("csv", tmp_path) as log:
        log(None, alone)
    text = (tmp_path / "metrics.csv").read_text()
    assert text == "env_steps,iteration,charts/SPS,charts/episodic_return\n32,1,12.5,\n"


def test_a_population_is_its_interquartile_mean_and_evaluations_their_range():
    found = logging_tools.scalars({"env_steps": 8, "losses/entropy": [0, 1, 2, 3, 4, 5, 6, 700]})
    assert found == {"env_steps": 8.0, "losses/entropy": 3.5}
    found = logging_tools.scalars({"evaluation/return_mean": [[4.0, None], [1.0, 4.0]]})
    assert found == {
        "evaluation/return_mean": 3.0,
        "evaluation/return_mean/min": 1.0,
        "evaluation/return_mean/max": 4.0,
    }
    assert logging_tools.scalars({"evaluation/return_mean": 2.0}) == {"evaluation/return_mean": 2.0}
    assert logging_tools.scalars({"charts/episodic_return": None}) == {}


@pytest.mark.long
def test_the_config_is_shown_where_a_tool_has_a_place_for_it(tmp_path):
    for name in EXTERNAL:
        with Logger(name, tmp_path, CONFIG) as log:
            log(None, ROWS[0])
    client, run_id = mlflow_run(tmp_path)
    run = client.get_run(run_id)
    assert run.data.params == {
        "env": "CartPole-v1",
        "structure.hidden": "(8, 8)",
        "hparams.lr": "0.25",
    }
    assert run.info.run_name == tmp_path.name and run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "rljax"
    records = wandb_records(tmp_path)
    shown = {u.key: json.loads(u.value_json) for r in records for u in r.run.config.update}
    assert shown["hparams.lr"] == 0.25 and shown["structure.hidden"] == [8, 8]
    assert "absent" not in shown
    assert {r.run.project for r in records if r.run.run_id} == {"rljax"}
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert b"hparams.lr" in file.read_bytes() and b"evaluation/return_mean" in file.read_bytes()
    hidden = {tag for tag in events.tensorboard(tmp_path / "tensorboard") if tag[0] == "_"}
    parts = ("experiment", "session_start_info", "session_end_info")
    assert hidden == {f"_hparams_/{part}" for part in parts}


@pytest.mark.long
def test_what_fails_is_marked_so(tmp_path):
    with pytest.raises(KeyError), Logger("mlflow", tmp_path):
        raise KeyError("of training")
    client, run_id = mlflow_run(tmp_path)
    assert client.get_run(run_id).info.status == "FAILED"
    with Logger("mlflow", tmp_path):
        assert client.get_run(run_id).info.status == "RUNNING"
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_server_of_wandb_is_told_what_it_lacks(tmp_path, monkeypatch):
    import wandb

    asked, told = [], []

    def init(**arguments):
        asked.append(arguments)
        begun_at = 0 if len(asked) == 1 else 32 * 5 + 1  # As the service says of a run it knows.
        return SimpleNamespace(
            starting_step=begun_at,
            log=lambda values, step: told.append(step),
            finish=lambda exit_code: told.append(exit_code),
        )

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    crashed = Logger("wandb", tmp_path)
    for row in ROWS[:5]:
        crashed(None, row)
    with Logger("wandb", tmp_path, rows=ROWS[:3]) as log:
        for row in ROWS[3:]:
            log(None, row)
    assert told == [32 * i for i in range(1, 8)] + [0]
    assert asked[0]["id"] == asked[1]["id"] and asked[1]["resume"] == "allow"
    assert asked[0]["project"] == "mine" and asked[0]["name"] == tmp_path.name


@pytest.fixture
def flaky(monkeypatch):
    """A tool in the place of "csv" that fails while `down`, and what it was told."""
    tool = SimpleNamespace(down=False, told=[], closed=0)

    def begin(folder, config):
        def tell(row):
            if tool.down:
                raise ConnectionError("no route\nto host")
            tool.told.append(row["iteration"])

        yield tell
        tool.closed += 1

    monkeypatch.setitem(loggers.TOOLS, "csv", begin)
    return tool


def test_a_tool_that_fails_is_reported_once_and_told_later_what_it_missed(
    flaky, tmp_path, monkeypatch
):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(loggers.time, "monotonic", lambda: clock.now)
    said: list[str] = []
    log = Logger("csv", tmp_path, report=said.append)
    for row in ROWS[:5]:
        flaky.down = row["iteration"] in (2, 3)
        log(None, row)
        clock.now += 10.0
    assert flaky.told == [1]
    clock.now += 60.0
    log(None, ROWS[5])
    assert flaky.told == [1, 2, 3, 4, 5, 6]
    flaky.down = True
    log(None, ROWS[6])
    flaky.down = False
    log.close()
    assert flaky.told == [1, 2, 3, 4, 5, 6, 7] and flaky.closed == 1
    assert said == [
        "logger csv failed (no route to host); training goes on, and what it misses is tried again"
    ]


def test_a_tool_that_stays_away_is_said_to_lack_rows(flaky, tmp_path):
    with pytest.warns(UserWarning) as said, Logger("csv", tmp_path) as log:
        flaky.down = True
        for row in ROWS[:3]:
            log(None, row)
    assert [str(w.message).partition(";")[0] for w in said] == [
        "logger csv failed (no route to host)",
        "logger csv lacks the last 3 rows",
    ]


def test_a_full_disk_does_not_stop_training(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def flush(self):
            if self.tell() > 800:
                raise OSError(28, "No space left on device")

    disks = [Full, io.FileIO]
    monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda p: disks.pop(0)(p, "w"))
    monkeypatch.setattr(loggers, "SECONDS_BETWEEN_ATTEMPTS", 0.0)
    said: list[str] = []
    with Logger("tensorboard", tmp_path, report=said.append) as log:
        for row in ROWS:
            log(None, row)
    assert disks == [] and len(said) == 1 and "No space left on device" in said[0]
    assert read("tensorboard", tmp_path)["iteration"] == list(EXPECTED["iteration"].items())


def test_a_tool_that_cannot_begin_is_named(tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(RunError, match="logger tensorboard cannot begin: .*exists") as refusal:
        Logger("tensorboard", tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_name_that_is_not_known_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="'tensorbord' is not known; did you mean 'tensorboard'"):
        Logger("tensorbord", tmp_path)


@pytest.mark.parametrize("name", EXTERNAL)
def test_a_missing_package_is_refused_by_its_extra_before_anything_is_made(
    name, tmp_path, monkeypatch, capsys
):
    find, missing = importlib.util.find_spec, loggers.PACKAGES[name][0]
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == missing else find(n, *a)
    )
    path = tmp_path / "c.toml"
    path.write_text('env = "CartPole-v1"')
    run = tmp_path / "run"
    assert main(["train", str(path), "--run-dir", str(run), "--logging.to", name]) == 2
    said = capsys.readouterr().err
    assert said == (f"rljax: logger {name} needs {missing}: pip install 'rljax-core[{name}]'\n")
    assert not run.exists()


@pytest.mark.long
def test_a_run_tells_all_its_loggers_every_row_though_killed(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("API_TOKEN", SECRET)
    flat = {k: v for k, v in tiny.values().items() if v is not None}
    flat |= {"logging.to": ["csv", "mlflow", "tensorboard"], "structure.hidden": [8]}
    run = experiment.start(config.resolve(flat, {}), tmp_path / "run").run
    shutil.rmtree(run.checkpoints / "12")  # As if killed in iteration 12, before it was saved.
    experiment.resume(run.path, {"logging.to": '["csv", "mlflow", "tensorboard", "wandb"]'})
    rows = metrics.read(run.metrics)
    steps = [row["env_steps"] for row in rows]
    assert steps == [32 * i for i in range(1, 13)]
    for name in EXTERNAL:
        found = read(name, run.path)
        assert [step for step, _ in found["losses/value_loss"]] == steps, name
        evaluated = [step for step, _ in found["evaluation/return_mean/max"]]
        assert evaluated == [128, 256, 384], name
        values = [np.mean(row["losses/value_loss"]) for row in rows]
        np.testing.assert_allclose([v for _, v in found["losses/value_loss"]], values, rtol=1e-5)
    assert (run.path / "metrics.csv").read_text().count("\n") == 1 + 2 * 12
    for file in run.path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.long
def test_a_complete_run_can_still_be_told_to_a_logger(copy):
    experiment.resume(copy.path, {"logging.to": "csv"})
    assert (copy.path / "metrics.csv").read_text().count("\n") == 1 + 2 * 12


def test_only_the_first_process_logs(copy, monkeypatch):
    monkeypatch.setattr(experiment.processes, "is_first", lambda: False)
    experiment.resume(copy.path, {"logging.to": "csv"})
    assert not (copy.path / "metrics.csv").exists()


@pytest.mark.long
def test_a_run_says_that_a_logger_fails_and_goes_on(flaky, tiny, tmp_path):
    flaky.down = True
    said: list[str] = []
    flat = {k: v for k, v in tiny.values().items() if v is not None}
    flat |= {"logging.to": ["csv"], "structure.hidden": [8]}
    outcome = experiment.start(config.resolve(flat, {}), tmp_path / "run", report=said.append)
    assert len(metrics.read(outcome.run.metrics)) == 12
    assert [sentence.partition(";")[0] for sentence in said] == [
        "warning: logger csv failed (no route to host)",
        "warning: logger csv lacks the last 12 rows",
    ]
