"""Both tutorials and the page on notebooks, run from top to bottom as they stand."""

import shlex

import jax
import numpy as np
import pages
import pytest
from states import compiled_quickly

import rljax
from rljax.cli import main

TUTORIAL = pages.ROOT / "docs/tutorial.md"
NOTEBOOK = pages.ROOT / "docs/notebook.md"
PLANNING = pages.ROOT / "docs/planning_tutorial.md"
IN_PROCESSES_OF_THEIR_OWN = pages.commands(TUTORIAL, "Several devices, and many machines")
"""The commands that test_device_commands runs."""
SHORTER = {
    "total_env_steps=100_000": "total_env_steps=3_000",
    "total_env_steps=40_000": "total_env_steps=1_024",
    "configs/ppo/cartpole.toml": "configs/ppo/cartpole.toml --total-env-steps 1024",
}


def follow(page, folder, replacing=()) -> dict:
    """Do in `folder` what the page says, block by block; the names that its code defines.

    `replacing` has (before, after) of what is done differently, every one of which must occur.
    """
    (folder / "configs").symlink_to(pages.ROOT / "configs")
    names: dict = {}
    blocks = pages.blocks(page)
    for before, after in replacing:
        assert any(before in block.code for block in blocks), before
        blocks = [block._replace(code=block.code.replace(before, after)) for block in blocks]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks:
            if block.language == "python":
                pages.run(block, page, names)
                continue
            for line in block.commands:
                program, *words = shlex.split(line)
                if program == "rljax" and "--distributed" not in words:
                    assert main(words) == 0, line
    return names


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("short", marks=pytest.mark.long),
        pytest.param("full", marks=pytest.mark.slow),
    ],
)
def length(request):
    return request.param


@pytest.fixture(scope="module")
def folder(length, tmp_path_factory):
    return tmp_path_factory.mktemp(f"tutorial_{length}")


@pytest.fixture(scope="module")
def names(length, folder):
    if length == "full":
        return follow(TUTORIAL, folder)
    with compiled_quickly():
        return follow(TUTORIAL, folder, SHORTER.items())


def test_every_block_is_run():
    """Here, or, where it needs processes of its own, in test_device_commands."""
    assert {block.language for block in pages.blocks(TUTORIAL)} == {"python", "bash"}
    elsewhere = [
        line
        for line in pages.commands(TUTORIAL)
        if not line.startswith("rljax") or "--distributed" in line
    ]
    assert elsewhere and set(elsewhere) <= set(IN_PROCESSES_OF_THEIR_OWN)


def test_the_tables_walk_as_it_says(names, folder):
    returns = {}
    for name in ("q_learning", "sarsa"):
        agent, state = rljax.load(folder / "runs" / name)
        returns[name] = float(rljax.evaluate(agent, state, jax.random.key(0), 1).returns[0])
    assert returns["q_learning"] == -13.0 and returns["sarsa"] in (-15.0, -17.0)


def test_q_learning_from_its_parts_is_q_learning(names, folder):
    _, theirs = rljax.load(folder / "runs/q_learning")
    np.testing.assert_array_equal(names["learnt"], theirs.learner.params)


def test_deep_agents_learn_what_it_says(names, length):
    values = np.asarray(names["played"].returns).reshape(5, -1)
    assert values.shape == (5, 4 * 16) and np.isfinite(values).all()
    if length == "full":
        assert 60 < names["dqn_return"] <= 500  # of eight seeds, the least had 103
        means = values.mean(axis=1)
        assert means.argmax() in (2, 3) and means.max() > 400 and max(means[0], means[4]) < 250


def test_pictures_come_out_as_shown(names, folder):
    for name in ("q_learning.png", "sarsa.png", "cartpole.gif"):
        assert (folder / name).stat().st_size > 1000
    for name in ("cliff.png", "cartpole.gif"):
        assert (pages.ROOT / "docs/images" / name).stat().st_size < 150_000


@pytest.mark.long
def test_the_notebook_s_loop_goes_on_where_it_was_left(tmp_path):
    with compiled_quickly():
        names = follow(NOTEBOOK, tmp_path)
    left = int(names["state"].iteration)
    assert [row["iteration"] for row in names["rows"]] == list(range(1, left + 1))
    assert left < names["agent"].num_iterations and "best" in names
    loop = next(block for block in pages.blocks(NOTEBOOK) if "rljax.iterate" in block.code)
    with compiled_quickly():
        pages.run(loop, NOTEBOOK, names)  # the cell, run again
    assert names["rows"][left]["iteration"] == left + 1


@pytest.mark.slow
def test_the_tutorial_of_planning_ends_with_a_game(tmp_path, capsys):
    shorter = {
        "--num-seeds 30": "--num-seeds 2 --total-env-steps 500",
        '"num_simulations": 64, "samples": 16': '"num_simulations": 2, "playout_steps": 2',
        "num_episodes=16": "num_episodes=1, max_steps=4",
        "num_simulations=128": "num_simulations=2",
        '"perfect", 200': '"perfect", 2',
        "--episodes 1000": "--episodes 2",
        "--episodes 200": "--episodes 2",
        "tic_tac_toe.toml --seed 100": "tic_tac_toe.toml --total-env-steps 2560",
        "connect_four.toml --seed 100": (
            "connect_four.toml --total-env-steps 7168 --structure.hidden [4] "
            "--structure.num-simulations 2 --structure.play-simulations 2 "
            "--structure.warmup-env-steps 5376"
        ),
        "--against human": "--against random",
        "catch.toml": "catch.toml --total-env-steps 1500 --structure.num-simulations 2",
        "pendulum.toml": "pendulum.toml --total-env-steps 1008",
    }
    with compiled_quickly():
        names = follow(PLANNING, tmp_path, shorter.items())
    assert (tmp_path / "maze.png").stat().st_size > 1000
    assert sum(sum(side) for side in names["found"]) == 2
    assert "random plays" in capsys.readouterr().out
