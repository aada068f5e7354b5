"""The tutorial and the page on notebooks, run from top to bottom as they stand."""

import shlex

import jax
import numpy as np
import pages
import pytest

import rljax
from rljax.cli import main

README = pages.ROOT / "README.md"
TUTORIAL = pages.ROOT / "docs/tutorial.md"
IN_PROCESSES_OF_THEIR_OWN = pages.commands(README, "More than one device")  # test_readme_devices


def follow(page, folder) -> dict:
    """Do in `folder` what the page says, block by block; the names that its code defines."""
    (folder / "configs").symlink_to(pages.ROOT / "configs")
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in pages.blocks(page):
            if block.language == "python":
                pages.run(block, page, names)
            for line in block.commands if block.language == "bash" else ():
                if line not in IN_PROCESSES_OF_THEIR_OWN:
                    program, *words = shlex.split(line)
                    assert program == "rljax" and main(words) == 0, line
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def names(folder):
    return follow(TUTORIAL, folder)


def test_every_block_is_run(names):
    languages = {block.language for block in pages.blocks(TUTORIAL)}
    assert languages == {"python", "bash"}
    assert set(pages.commands(TUTORIAL)) & set(IN_PROCESSES_OF_THEIR_OWN)


def test_the_tables_walk_as_it_says(names, folder):
    returns = {}
    for name in ("q_learning", "sarsa"):
        agent, state = rljax.load(folder / "runs" / name)
        returns[name] = float(rljax.evaluate(agent, state, jax.random.key(0), 1).returns[0])
    assert returns["q_learning"] == -13.0 and returns["sarsa"] in (-15.0, -17.0)


def test_q_learning_from_its_parts_is_q_learning(names, folder):
    agent, state = rljax.load(folder / "runs/q_learning")
    mine, _ = rljax.train(names["mine"], jax.random.key(0))
    np.testing.assert_array_equal(mine.learner.params, state.learner.params)


def test_the_population_shows_which_step_size_is_good(names):
    returns = np.asarray(names["played"].returns).reshape(5, -1).mean(axis=1)
    assert returns.argmax() in (2, 3) and returns[2] > 2 * returns[0]


def test_pictures_come_out_as_shown(names, folder):
    for name in ("cliff.png", "cartpole.gif"):
        made, shown = folder / name, pages.ROOT / "docs/images" / name
        assert made.stat().st_size > 1000 and shown.stat().st_size < 150_000


def test_the_notebook_s_loop_goes_on_where_it_was_left(tmp_path):
    page = pages.ROOT / "docs/notebook.md"
    names = follow(page, tmp_path)
    left = int(names["state"].iteration)
    assert [row["iteration"] for row in names["rows"]] == list(range(1, left + 1))
    assert left < names["agent"].num_iterations and "best" in names
    loop = next(block for block in pages.blocks(page) if "rljax.iterate" in block.code)
    pages.run(loop, page, names)  # the cell, run again
    assert [row["iteration"] for row in names["rows"][left:]][:1] == [left + 1]
