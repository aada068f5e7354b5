"""A run, made smaller, is a run."""

import json

import jax
import numpy as np
import pytest

import rljax
from rljax.cli import main
from rljax.compression import Settings, compress
from rljax.errors import RunError, UsageError
from rljax.experiments import directory

FAST = {"env_steps": 6144, "episodes": 4}


def stages(path):
    return json.loads((path / "compression.json").read_text())["stages"]


@pytest.mark.slow
def test_without_training_weights_are_rounded_and_all_else_is_kept(finished, tmp_path):
    out = tmp_path / "rounded"
    summary = compress(finished.path, out, Settings(bits=4, **FAST))
    assert [stage["name"] for stage in summary["stages"]] == ["teacher", "4 bits"]
    _, teacher = rljax.load(finished.path)
    agent, state = rljax.load(out)
    for old, new in zip(
        jax.tree.leaves(teacher.learner.params), jax.tree.leaves(state.learner.params), strict=True
    ):
        if old.ndim < 3:  # biases [P, O]
            np.testing.assert_array_equal(old, new)
        else:
            assert len(np.unique(np.asarray(new)[0, :, 0])) <= 15
    before, after = summary["stages"]
    assert before["parameters"] == after["parameters"] == 4 * 8 + 8 + 8 * 2 + 2
    assert after["constant_bytes"] < before["constant_bytes"] and after["bytes"] < before["bytes"]
    assert before["operations"] == 4 * 8 + 8 * 2
    if before["compiled_bytes"] is not None:
        assert before["constant_bytes"] < before["compiled_bytes"] < before["bytes"]
    old, new = before["returns"]["seeds"], after["returns"]["seeds"]
    assert before["kept"]["mean"] == 1
    np.testing.assert_allclose(after["kept"]["mean"], np.mean(new) / np.mean(old))
    scores = json.loads((out / "evaluation.json").read_text())["returns"]
    np.testing.assert_allclose(np.mean(scores, 1), after["returns"]["seeds"])
    assert (out / "compression.png").exists() and directory.is_run(out)
    assert int(state.iteration[0]) == agent.num_iterations


@pytest.mark.long
def test_all_ways_at_once_by_the_command(finished, tmp_path, capsys):
    out, file = tmp_path / "small", tmp_path / "policy.c"
    ways = ["--student", "16,4", "--prune", "0.5", "--bits", "8", "--aware", "--episodes", "4"]
    command = ["compress", str(finished.path), "--out", str(out), "--env-steps", "6144", *ways]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "multiply-adds" in printed.out and "times fewer" in printed.out
    assert "return kept" in printed.out and "warning: the student has" in printed.err
    found = stages(out)
    names = ["teacher", "student 16,4", "pruned 50%", "8 bits"]
    assert [stage["name"] for stage in found] == names
    weights = 4 * 16 + 16 * 4 + 4 * 2
    assert found[-1]["parameters"] == weights + 16 + 4 + 2
    assert found[2]["nonzero"] <= found[1]["nonzero"] - weights // 2 + 2
    assert found[3]["nonzero"] <= found[2]["nonzero"]
    assert main(["eval", str(out), "--episodes", "2", "--json"]) == 0
    assert main(["export", str(out), "--to", "c", "--out", str(file)]) == 0
    assert "signed char" in file.read_text()
    card = json.loads((tmp_path / "policy.c.json").read_text())
    assert card["compressed"]["run"] == str(finished.path)
    assert card["compressed"]["settings"]["student"] == [16, 4]
    assert main(["resume", str(out)]) == 0
    assert "is complete" in capsys.readouterr().err


@pytest.mark.long
def test_units_are_taken_out_of_the_policy_and_not_of_its_critic(finished, tmp_path):
    out = tmp_path / "narrow"
    summary = compress(finished.path, out, Settings(prune_units=0.75, **FAST))
    before, after = summary["stages"]
    assert (before["operations"], after["operations"]) == (48, 2 * 4 + 2 * 2)
    config = directory.find(out).load_config()
    assert list(config.structure["hidden"]) == [2]
    assert list(config.structure["critic_hidden"]) == [8]


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ({}, "nothing to do"),
        ({"prune": 1.0}, "prune must be"),
        ({"prune": 0.5, "prune_units": 0.5}, "not both"),
        ({"bits": 1}, "from 2 to 16"),
        ({"prune": 0.5, "aware": True}, "give bits"),
        ({"student": ()}, "student must be"),
        ({"bits": 8, "scope": "layers"}, "did you mean 'layer'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(ways, words):
    with pytest.raises(UsageError, match=words):
        Settings(**ways)


def test_what_is_not_there_or_in_the_way_is_said(finished, tmp_path, capsys):
    with pytest.raises(RunError, match="exists already"):
        compress(finished.path, tmp_path, Settings(bits=8))
    nowhere = ["compress", str(tmp_path / "none"), "--bits", "8", "--out", str(tmp_path / "out")]
    assert main(nowhere) == 1
    assert capsys.readouterr().err == f"rljax: run {tmp_path / 'none'} does not exist\n"
    sizes = ["compress", str(finished.path), "--student", "a,b", "--out", str(tmp_path / "out")]
    assert main(sizes) == 2
    assert "such as 16,16" in capsys.readouterr().err and not (tmp_path / "out").exists()
