"""The tables of results come from one file, and the script that measures it again judges fairly."""

import importlib
import json
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pages
import pytest
from click.testing import CliRunner

from rljax import cli
from rljax.experiments import config

NAME = "q_learning/tiny"
CONFIG = """
env = "FrozenLake4x4"
agent = "q_learning"
total_env_steps = 2000
[structure]
num_envs = 4
[logging]
interval_env_steps = 200
"""
PAGE = "before\n<!-- results -->\n<!-- /results -->\nafter\n"


@pytest.fixture
def reproduce(monkeypatch):
    monkeypatch.syspath_prepend(pages.ROOT / "scripts")
    return importlib.import_module("reproduce")


@pytest.fixture
def clone(reproduce, monkeypatch, tmp_path):
    """A repository of one config, in which nothing has been measured."""
    for folder in ("configs/q_learning", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / f"configs/{NAME}.toml").write_text(CONFIG)
    (tmp_path / "docs/results.json").write_text('{"rows": []}')
    for page in reproduce.PAGES:
        (tmp_path / page).write_text(PAGE)
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(pages.ROOT))  # Commands run in the clone.
    return tmp_path


@pytest.fixture
def commands(clone, reproduce, monkeypatch):
    """The commands given to `rljax`, which run in this process."""
    given, other = [], subprocess.run

    def run(command, *arguments, cwd=None, **more):
        if command[1:3] != ["-m", "rljax"]:  # Python's own, such as `uname` of `platform`
            return other(command, *arguments, cwd=cwd, **more)
        words = command[3:]
        given.append(words)
        monkeypatch.chdir(cwd)
        return SimpleNamespace(returncode=cli.main(words))

    monkeypatch.setattr(subprocess, "run", run)
    return given


def run(reproduce, clone, *words, code=0):
    words = ["--out", str(clone / "out"), "--seeds", "2", *words]
    done = CliRunner().invoke(reproduce.main, words)
    assert done.exit_code == code, done.output
    return done.output


def row(reproduce, returns, name=NAME, **changes):
    """What a row is when it has been measured."""
    return {
        "environment": "FrozenLake4x4",
        "config": name,
        "env_steps": 2000,
        "first_seed": 100,
        "num_seeds": len(returns),
        "episodes": 64,
        "returns": list(returns),
        **reproduce.summary(returns),
        "hardware": "2 cores of a machine",
        "python": "3.11.9",
        "jax": "0.10.2",
        "gymnax": "1.0.1",
        **changes,
    }


@pytest.mark.parametrize("name", ["README.md", "docs/published_results.md"])
def test_the_table_of_a_page_is_what_the_results_give(reproduce, name):
    page = (pages.ROOT / name).read_text()
    assert len(reproduce.REGION.findall(page)) == 1
    rows = list(reproduce.read().values())
    assert reproduce.filled(page, reproduce.shown(name, rows)) == page


def test_the_readme_shows_the_best_known_configs_and_the_other_page_all(reproduce):
    rows = list(reproduce.read().values())
    assert reproduce.shown("docs/published_results.md", rows) == rows
    assert {row["config"] for row in reproduce.shown("README.md", rows)} == {*reproduce.BEST_KNOWN}


def test_every_published_row_is_a_config_of_which_it_tells_the_truth(reproduce):
    rows = json.loads((pages.ROOT / "docs/results.json").read_text())["rows"]
    assert len({row["config"] for row in rows}) == len(rows)
    for row in rows:
        top = config.load(pages.ROOT / "configs" / f"{row['config']}.toml").top
        assert (row["environment"], row["env_steps"]) == (top.env, top.total_env_steps)
        assert row["num_seeds"] == len(row["returns"])
        for key, value in reproduce.summary(row["returns"]).items():
            assert row[key] == (None if value is None else pytest.approx(value)), key


def test_every_config_gets_its_command(reproduce, tmp_path):
    assert {"rainbow/cartpole", "ppo/asterix", "q_lambda/cliff_walking"} < set(reproduce.names())
    assert "ppo/cartpole.sweep" not in reproduce.names()
    for name, seeds in (("ppo/asterix", "5"), ("ppo/cartpole", "16")):
        path = tmp_path / name
        assert reproduce.command(name, reproduce.settings(name), path) == [
            *("train", f"configs/{name}.toml", "--num-seeds", seeds, "--seed", "100"),
            *("--run-dir", str(path), "--logging.plot", "false"),
        ]


@pytest.mark.long
def test_from_a_subprocess_to_the_page_and_back(reproduce, clone):
    assert "not published" in run(reproduce, clone, "--write")
    [row] = reproduce.read().values()
    returns = json.loads((clone / f"out/{NAME}/evaluation.json").read_text())["returns"]
    assert row["returns"] == np.mean(returns, axis=1).tolist() and row["episodes"] == 64
    assert row["interval"] is None and row["num_seeds"] == 2 and row["jax"] and row["hardware"]
    page = (clone / "docs/published_results.md").read_text()
    assert f"| FrozenLake4x4 | `{NAME}` | 2k | 2 | {row['mean']:.3f} | - |" in page
    assert page == reproduce.filled(PAGE, [row]) == reproduce.filled(page, [row])
    assert page.startswith("before\n") and page.endswith("after\n") and row["python"] in page
    assert (clone / "README.md").read_text() == PAGE  # It is none of the best known.
    assert " ok |" in run(reproduce, clone)


@pytest.mark.long
def test_a_killed_run_is_resumed_and_a_complete_one_only_read(reproduce, clone, commands):
    table = run(reproduce, clone).splitlines()[-3:]
    assert run(reproduce, clone).splitlines()[-3:] == table
    assert [words[0] for words in commands] == ["train"]
    # What a kill before the last checkpoint would have left.
    checkpoints = clone / f"out/{NAME}/checkpoints"
    shutil.rmtree(max(checkpoints.iterdir(), key=lambda path: int(path.name)))
    (clone / f"out/{NAME}/evaluation.json").unlink()
    assert run(reproduce, clone).splitlines()[-3:] == table
    assert [words[0] for words in commands] == ["train", "resume"]


@pytest.mark.long
def test_a_run_with_other_settings_is_refused(reproduce, clone, commands):
    run(reproduce, clone)
    with (clone / f"configs/{NAME}.toml").open("a") as file:
        file.write("[hparams]\nlr = 0.5\n")
    assert "another hparams.lr" in run(reproduce, clone, code=1)
    assert "another seed" in run(reproduce, clone, "--first-seed", "7", code=1)
    assert len(commands) == 1


@pytest.mark.long
def test_a_row_that_fails_does_not_stop_the_others(reproduce, clone, commands):
    (clone / "configs/q_learning/another.toml").write_text(CONFIG)
    (clone / "out/q_learning/another").mkdir(parents=True)  # in the way, and no run
    output = run(reproduce, clone, code=1)
    assert "q_learning/another: FAILED" in output and f"`{NAME}` | 2k" in output


@pytest.mark.long
def test_a_shifted_row_is_outside_and_a_fair_one_is_not(reproduce, clone, commands):
    run(reproduce, clone, "--write")
    [measured] = reproduce.read().values()
    for shift, word, code in ((0.0, "ok", 0), (0.9, "OUTSIDE", 1)):
        moved = row(reproduce, measured["mean"] + shift + np.tile([-0.1, 0.1], 8))
        (clone / "docs/results.json").write_text(json.dumps({"rows": [moved]}))
        assert f" {word} |" in run(reproduce, clone, code=code)
    run(reproduce, clone, "--write")  # What is published is no fault.


def test_two_samples_of_the_same_seeds_seldom_differ_and_shifted_ones_do(reproduce):
    rng = np.random.default_rng(0)

    def outside(seeds: int, published: int, shift: float) -> float:
        """How often, when the shift is in standard deviations."""
        return np.mean(
            [
                reproduce.outside(
                    {"returns": rng.normal(1000 + 100 * shift, 100, seeds)},
                    {"returns": rng.normal(1000, 100, published)},
                )
                for _ in range(1000)
            ]
        )

    counts = (2, 16), (5, 5), (16, 16)
    assert all(0.001 < outside(*count, 0) < 0.025 for count in counts)
    assert outside(2, 16, 4) > 0.9 and outside(5, 5, 4) > 0.95 and outside(16, 16, 2) > 0.95


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([500.0] * 8, [500.0] * 8, False),
        ([496.0] * 8, [500.0] * 8, False),
        ([490.0] * 8, [500.0] * 8, True),
        ([500.0] * 15 + [400.0], [500.0] * 16, False),  # One unlucky seed is no other algorithm.
        ([400.0] * 8 + [500.0] * 8, [500.0] * 16, True),
        ([-13.0] * 16, [-15.0] * 16, True),
        ([0.0] * 3, [0.0] * 3, False),
    ],
)
def test_seeds_that_agree_are_compared_with_a_tolerance(reproduce, ours, theirs, expected):
    ours, theirs = row(reproduce, ours), row(reproduce, theirs)
    assert reproduce.outside(ours, theirs) == reproduce.outside(theirs, ours) == expected


def test_publishing_replaces_a_row_and_keeps_the_others(reproduce, clone):
    reproduce.publish([row(reproduce, [1.0] * 5, "b"), row(reproduce, [2.0] * 5, "a")])
    other = row(reproduce, [30.0, 40.0, 40.0, 40.0, 50.0], "b", hardware="another machine")
    reproduce.publish([other])
    kept = row(reproduce, [2.0] * 5, "a")
    assert list(reproduce.read().values()) == [kept, other]
    page = (clone / "docs/published_results.md").read_text()
    assert page == reproduce.filled(PAGE, [kept, other])
    assert "| 2.000 | 2.000 to 2.000 | 2.000 | 2.000 |" in page
    assert "| 40.0 | 34.0 to 46.0 | 40.0 | 30.0 |" in page
    assert "- another machine, Python 3.11.9, jax 0.10.2, gymnax 1.0.1: `b`\n- 2 cores" in page
    assert "gymnax 1.0.1: all others\n" in page
