import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from rich.console import Console

from rljax import tune
from rljax.analysis import plots
from rljax.cli import main
from rljax.errors import RunError, UsageError
from rljax.experiments import config, metrics
from rljax.experiments.directory import RunDirectory
from rljax.tune import directory, figures, methods, results, sweeps
from rljax.tune.directory import SweepDirectory
from rljax.tune.trials import Outcome, Trial


def contents(sweep: SweepDirectory):
    """All that is in a sweep but clocks, and where a value of its configs came from."""
    found = {"table": sweep.table.read_text(), "csv": (sweep.path / "trials.csv").read_text()}
    found["best"] = config.load(sweep.best).values()
    for path in sorted((sweep.path / "trials").iterdir()):
        run = RunDirectory(path)
        rows = metrics.read(run.metrics)
        found[path.name] = [{k: v for k, v in row.items() if k != "charts/SPS"} for row in rows]
        found[path.name].append(run.evaluation.read_text())
        found[path.name].append(run.load_config().values())
    return found


@pytest.mark.long
def test_a_sweep_leaves_what_it_found(finished):
    path = finished.directory.path
    assert {p.name for p in path.iterdir()} >= {
        "base.toml",
        "sweep.toml",
        "command.txt",
        "system.json",
        "trials.jsonl",
        "trials.csv",
        "best.toml",
        "parallel.png",
        "responses.png",
        "trials",
    }
    with (path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4"]
    best = max(rows, key=lambda row: float(row["value"]))
    assert best["trial"] == str(finished.best.trial.number)
    assert float(best["hparams.lr"]) == config.load(path / "best.toml").hparams["lr"]
    assert config.load(path / "best.toml").top.num_seeds == 1
    assert finished.directory.load() == finished.sweep
    assert list(finished.directory.outcomes()) == [0, 1, 2, 3, 4]
    assert all(Image.open(path / f"{name}.png").size[0] > 500 for name in ("parallel", "responses"))


@pytest.mark.long
def test_its_trials_are_runs_to_draw(finished, tmp_path):
    runs = [finished.directory.trial(number) for number in range(5)]
    plots.draw(runs, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[0] > 600


@pytest.mark.long
def test_importances_sum_to_one_and_name_the_key_that_counts(finished):
    pytest.importorskip("optuna")
    params = [
        {"hparams.lr": 1e-4 + i * 1e-3, "hparams.gamma": 0.9 + 0.099 * (i * 7 % 16) / 15}
        for i in range(16)
    ]
    outcomes = [Outcome(Trial(i, p), (), -abs(float(i) - 3)) for i, p in enumerate(params)]
    found = results.importances(finished.sweep, outcomes)
    assert abs(sum(found.values()) - 1) < 1e-6 and found["hparams.lr"] > 0.6
    assert results.importances(finished.sweep, outcomes[:3]) is None


def test_without_optuna_all_but_importances_is_there(finished, tmp_path, monkeypatch):
    shutil.copytree(finished.directory.path, tmp_path / "copy")
    (tmp_path / "copy/best.toml").unlink()
    (tmp_path / "copy/importances.json").unlink(missing_ok=True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = []
    again = tune.resume(tmp_path / "copy", report=said.append)
    assert said[0].endswith("5 of 5 trials are done") and again.importances is None
    [sentence] = [s for s in said if "needs optuna" in s]
    assert "importance" in sentence and "pip install 'rljax-core[sweep]'" in sentence
    assert again.directory.best.exists() and not again.directory.importances.exists()
    assert again.outcomes == [finished.directory.outcomes()[n] for n in range(5)]


@pytest.mark.long
def test_a_batch_counts_when_it_is_whole(tiny, finished, tmp_path, monkeypatch):
    whole, written = SweepDirectory._write_trial, []

    def fail_at_the_fourth(self, sweep, outcome):
        written.append(outcome.trial.number)
        if len(written) == 4:
            raise KeyboardInterrupt
        whole(self, sweep, outcome)

    monkeypatch.setattr(SweepDirectory, "_write_trial", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        tune.run(tiny, run_dir=tmp_path / "sweep")
    monkeypatch.undo()
    found = directory.find(tmp_path / "sweep")
    assert list(found.outcomes()) == [0, 1] and found.trial(2).path.exists()

    trained, random = [], methods.get("random")

    def count(sweep, kept):
        train = random.train(sweep, kept)
        return lambda batch: trained.extend(t.number for t in batch.trials) or train(batch)

    monkeypatch.setattr("rljax.tune.search.random", random._replace(train=count))
    tune.resume(found.path)
    assert trained == [2, 3, 4], "exactly the remaining trials"
    assert contents(found) == contents(finished.directory)


@pytest.mark.long
def test_killed_and_resumed_it_ends_as_if_it_had_never_stopped(tiny, tmp_path, capsys):
    pytest.importorskip("optuna")
    whole = tune.run(tiny, run_dir=tmp_path / "whole", method="bayes")
    path = tmp_path / "killed"
    flags = ["--method", "bayes", "--run-dir", str(path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "rljax", "sweep", str(tiny), *flags],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + 240
    while not ((path / "trials.jsonl").exists() and (path / "trials.jsonl").read_text()):
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(directory.find(path).outcomes())
    assert done in (2, 4) and main(["resume", str(path)]) == 0
    said = capsys.readouterr()
    assert f"{done} of 5 trials are done" in said.err and str(path) in said.out
    assert contents(directory.find(path)) == contents(whole.directory)


@pytest.mark.long
def test_structures_compile_once_each_and_the_best_config_trains(tmp_path, capsys):
    path = tmp_path / "lake.toml"
    path.write_text('env = "FrozenLake4x4"\nagent = "q_learning"\ntotal_env_steps = 256\n')
    space = tmp_path / "other.toml"
    space.write_text(
        "[hparams]\nlr = { values = [0.1, 0.5] }\n[structure]\nnum_envs = { values = [4, 8] }\n"
    )
    flags = ["--method", "grid", "--seeds", "1", "--evaluation.episodes", "2", "--devices", "1"]
    where = ["--space", str(space), "--run-dir", str(tmp_path / "sweep")]
    assert main(["sweep", str(path), *where, *flags]) == 0
    said = capsys.readouterr()
    assert "4/4 trials" in said.err and "1 seed, 2 episodes each" in said.out
    found = directory.find(tmp_path / "sweep")
    assert [o.trial.params for o in found.outcomes().values()] == [
        {"hparams.lr": lr, "structure.num_envs": n} for lr in (0.1, 0.5) for n in (4, 8)
    ]
    run = ["train", str(found.best), "--logging.plot", "false", "--run-dir", str(tmp_path / "run")]
    assert main(run) == 0
    assert (tmp_path / "run/evaluation.json").exists()


def test_a_directory_in_the_way_is_said_before_anything_is_trained(tiny, finished):
    before = contents(finished.directory)
    with pytest.raises(RunError, match="exists already: go on with `rljax resume"):
        tune.run(tiny, run_dir=finished.directory.path)
    assert contents(finished.directory) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--trials", "0"], 2, "trials must be at least 1"),
        (["--trails", "3"], 2, "flag --trails is not known"),
        (["--method", "grid"], 2, "hparams.lr is a range: say how many"),
        (["--driver", "rai"], 2, "driver 'rai' is not known; did you mean 'ray'?"),
        (["--space", "nowhere.toml"], 2, "search space nowhere.toml does not exist"),
        (["--devices", "64"], 2, "64 devices are asked for, but there are"),
        (["--structure.num-minibatches", "5"], 2, "does not divide"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tiny, tmp_path, capsys, arguments, code, message
):
    assert main(["sweep", str(tiny), "--run-dir", str(tmp_path / "sweep"), *arguments]) == code
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_a_missing_ray_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray Tune.*pip install 'rljax-core\[ray\]'"):
        tune.run(tiny, run_dir=tmp_path / "sweep", driver="ray")
    assert not (tmp_path / "sweep").exists()


def test_a_resumed_sweep_takes_no_changes_and_what_is_damaged_is_named(finished, tmp_path, capsys):
    path = tmp_path / "copy"
    shutil.copytree(finished.directory.path, path)
    assert main(["resume", str(path), "--trials", "9"]) == 2
    assert "a resumed sweep cannot change trials" in capsys.readouterr().err
    table = path / "trials.jsonl"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:2], lines[2][:20], ""]))
    assert main(["resume", str(path)]) == 1
    assert "trials.jsonl is damaged in line 3" in capsys.readouterr().err
    row = json.loads(lines[0])
    row["params"]["hparams.lr"] *= 2
    table.write_text(json.dumps(row) + "\n")
    assert main(["resume", str(path)]) == 1
    assert "trial 0 of" in (said := capsys.readouterr().err) and "not the one its search" in said
    (path / "sweep.toml").write_text("[sweep]\nmethod = 'x'\n")
    assert main(["resume", str(path)]) == 1
    assert f"sweep {path} is damaged" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "nowhere")]) == 1


def test_a_sweep_in_which_all_diverge_says_so(finished, tmp_path):
    lost = [Outcome(Trial(n, finished.outcomes[0].trial.params), (), failure="x") for n in range(7)]
    found = directory.create(tmp_path / "sweep", finished.sweep, ["rljax"])
    found.commit(finished.sweep, lost)
    assert results.write(found, finished.sweep, lost, print) is None
    assert not found.best.exists() and not found.parallel.exists()
    with pytest.raises(RunError, match="all diverged"):
        _ = sweeps.Result(found, finished.sweep, lost, None).best
    remarks = results.remarks(finished.sweep, lost, None)
    assert remarks[0] == "trial 0: x" and remarks[-1] == "and 2 more diverged, see trials.csv"


def test_what_keeps_trials_from_learning_is_warned_of_once(tiny, tmp_path, monkeypatch):
    def clipped(batch):
        """From the first row of every trial on, and from trial 1 on in the last row, too."""
        for trial in batch.trials:
            late = [0.0, 0.3 * (trial.number >= 1)]
            rows = [
                {"iteration": done, "env_steps": done * 32, "losses/clipped_targets": fractions}
                for done, fractions in ((2, [1.0, 1.0]), (20, late))
            ]
            yield Outcome(trial, (1.0, 1.0), float(trial.number), env_steps=640, rows=rows)

    fake = methods.get("random")._replace(train=lambda *_: lambda batch: [*clipped(batch)])
    monkeypatch.setattr("rljax.tune.search.random", fake)
    said: list[str] = []
    tune.run(tiny, run_dir=tmp_path / "sweep", report=said.append)
    warned = [sentence for sentence in said if "v_min and v_max" in sentence]
    assert len(warned) == 1 and warned[0].startswith("trial 1: more than a tenth of the targets")


@pytest.mark.parametrize(
    ("seeds", "said", "spread"),
    [
        (1, "mean return: 1 seed", "-"),
        (4, "mean return: mean of 4 seeds", "0, 1, 1, 1"),
        (5, "mean return: mean of 5 seeds", "0.25 to 0.75"),
        (8, "mean return: IQM of 8 seeds", "0.25 to 0.75"),
    ],
)
def test_a_table_and_pictures_say_what_stands_for_the_seeds(config_, seeds, said, spread):
    lr = {"hparams": {"lr": {"low": 1e-4, "high": 1e-1}}}
    sweep = tune.resolve(config_, lr, trials=1, seeds=seeds)
    scores = (0.0, *[1.0] * (seeds - 1))
    interval = (0.25, 0.75) if seeds >= 5 else None
    outcome = Outcome(Trial(0, {"hparams.lr": 1e-3}), scores, 0.5, interval, episodes=4)
    console = Console(file=io.StringIO(), width=120)
    console.print(results.table(sweep, [outcome]))
    printed = console.file.getvalue()
    assert spread in printed and said in printed and "4 episodes each" in printed
    assert ("95% interval" in printed) == (seeds >= 5)
    parallel, responses = (
        getattr(figures, name)(sweep, [outcome]) for name in ("draw_parallel", "draw_responses")
    )
    assert responses.axes[0].get_ylabel() == parallel.axes[1].get_ylabel() == said.replace(":", ",")
    points = [x.get_ydata() for x in responses.axes[0].get_lines() if x.get_marker() == "."]
    assert [list(p) for p in points] == [[] if seeds in (5, 8) else list(scores)]


def test_pictures_show_choices_and_what_diverged(config_, tmp_path):
    space = {
        "hparams": {"lr": {"low": 1e-4, "high": 1e-1, "scale": "log"}},
        "structure": {"hidden": {"values": [[8], [8, 8]]}, "num_epochs": {"values": [1]}},
    }
    sweep = tune.resolve(config_, space, trials=6)
    trials = methods.get("random").search(sweep).ask()
    outcomes = [
        Outcome(t, (), None if t.number == 2 else float(t.number), episodes=4) for t in trials
    ]
    for name in ("draw_parallel", "draw_responses"):
        figure = getattr(figures, name)(sweep, outcomes)
        plots.save(figure, tmp_path / f"{name}.png")
        text = " ".join(t.get_text() for t in figure.findobj(lambda x: hasattr(x, "get_text")))
        assert "1 diverged" in text and "(8, 8)" in text and "hidden" in text
