"""Games on the command line: matches, and a game against a person."""

import importlib
import json
import re

import pages
import pytest
from click.testing import CliRunner
from PIL import Image

from rljax.cli import entry, main

CONFIG = """
env = "TicTacToeGame"
agent = "alphazero"
total_env_steps = 64
[structure]
num_simulations = 2
longest_game = 4
num_envs = 2
rollout_length = 8
buffer_size = 32
batch_size = 4
warmup_env_steps = 16
updates_per_iteration = 1
hidden = [8]
[evaluation]
episodes = 2
[logging]
plot = false
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    (folder / "tiny.toml").write_text(CONFIG)
    assert main(["train", str(folder / "tiny.toml"), "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.mark.long
def test_eval_counts_wins_draws_and_losses_of_both_sides(run, capsys):
    command = ["eval", str(run), "--episodes", "20", "--json"]
    assert main([*command, "--against", "perfect"]) == 0
    hard = json.loads(capsys.readouterr().out)
    assert hard["against"] == "perfect" and hard["wins"] == 0 and hard["episodes"] == 20
    assert sum(hard["first"].values()) == sum(hard["second"].values()) == 10
    assert hard["draws"] + hard["losses"] == 20
    assert main([*command, "--against", "chance"]) == 2
    assert (
        "opponent 'chance' is not known; there is mcts, perfect, random" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_eval_plays_against_another_run(run, capsys):
    command = ["eval", str(run), "--episodes", "20", "--json"]
    assert main([*command, "--against", str(run), "--stochastic"]) == 0
    itself = json.loads(capsys.readouterr().out)
    assert itself["against"] == str(run)
    assert itself["wins"] + itself["draws"] + itself["losses"] == 20


@pytest.mark.long
def test_a_game_in_the_terminal_asks_again_for_an_illegal_move_and_is_drawn(run, tmp_path):
    out = tmp_path / "game.gif"
    typed = "\n".join(["9", "4", *"012345678" * 5])
    command = ["play", str(run), "--against", "human", "--seed", "0", "--out", str(out)]
    played = CliRunner().invoke(entry.cli, command, input=typed)
    assert played.exit_code == 0, played.output
    assert "x: you, o: the agent" in played.output
    assert "'9' is no legal move: type one of 0, 1, 2, 3, 4, 5, 6, 7, 8" in played.output
    assert played.output.rstrip().split("\n")[-1] in (
        "you win", "the agent wins", "a draw", str(out)
    )  # fmt: skip
    assert Image.open(out).n_frames >= 5


@pytest.mark.long
def test_what_play_cannot_do_is_said(run, capsys):
    assert main(["play", str(run)]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert main(["play", str(run), "--against", "mcts", "--out", "a.png"]) == 2
    assert "--out must be a .gif, for a game" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_are_rated_by_the_points_of_all_their_games(run, monkeypatch):
    monkeypatch.syspath_prepend(pages.ROOT / "scripts")
    words = [str(run), "--against", "random", "--against", "perfect", "--episodes", "20"]
    done = CliRunner().invoke(importlib.import_module("elo").main, words, catch_exceptions=False)
    lines = done.output.splitlines()
    ratings = {line.split()[1]: float(line.split()[0]) for line in lines}
    assert set(ratings) == {str(run), "random", "perfect"} and done.exit_code == 0
    assert lines[0].split()[1] == "perfect"
    assert list(ratings.values()) == sorted(ratings.values(), reverse=True)


SELF_PLAY = """
env = "TicTacToeGame"
agent = "ppo"
total_env_steps = 64
[structure]
opponents = 2
opponent_period = 1
num_envs = 4
rollout_length = 8
num_minibatches = 1
hidden = [8]
[evaluation]
episodes = 2
[logging]
plot = false
"""


@pytest.mark.slow
def test_the_earlier_selves_of_a_run_are_rated_with_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(pages.ROOT / "scripts")
    (tmp_path / "tiny.toml").write_text(SELF_PLAY)
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "tiny.toml"), "--run-dir", run]) == 0
    words = [run, "--opponents", "--episodes", "20"]
    done = CliRunner().invoke(importlib.import_module("elo").main, words, catch_exceptions=False)
    lines = done.output.splitlines()
    names = [line[8:].split("  (points")[0] for line in lines]
    assert set(names) == {run, f"{run} opponent 1", f"{run} opponent 2"}
    points = [float(x) for line in lines for x in re.findall(r"([\d.]+) of ", line)]
    assert sum(points) == 3 * 20  # each pair plays so many games
