import subprocess
import sys

import pages
import pytest
from fake_sides import fake
from PIL import Image

from benchmarks import result_files, rows
from rljax.cli import bench, main


def test_a_peer_that_fails_is_told_of_and_the_others_go_on(sides, monkeypatch, tmp_path, capsys):
    luckless = fake("luckless", None)
    monkeypatch.setattr(rows, "ROWS", [luckless, fake("lucky", (2.0, 2.0))])
    monkeypatch.setattr(rows, "SUITES", ["fakes"])
    out, picture = tmp_path / "new.json", tmp_path / "new.png"
    arguments = ["bench", "--suite", "fakes", "--peer", "fake", "--repeats", "2"]
    assert main([*arguments, "--json", str(out), "--draw", str(picture)]) == 1
    said = capsys.readouterr()
    assert "luckless: fake ended with code 1 and no answer: no luck today" in said.err
    assert "lucky  rljax 75 steps/s  fake 50 steps/s (1.50)" in said.err
    assert len(sides()) == 3 + 4  # Who has failed once is not asked again.
    kept = result_files.load(out)
    assert [row["row"] for row in kept["rows"]] == ["luckless", "lucky"]
    assert kept["rows"][0]["sides"]["rljax"]["median"] > 0
    assert kept["machine"]["cores"] >= 1 and kept["schema"] == result_files.SCHEMA
    assert Image.open(picture).size[0] > 1000

    monkeypatch.setitem(luckless.work, "fake seconds", (4.0, 4.0))
    assert main([*arguments, "--row", "luckless", "--json", str(out)]) == 0
    again = result_files.load(out)["rows"]
    assert again[0]["ratios"]["fake"]["ratio"] > 2 and again[1] == kept["rows"][1]


REFUSED = [
    (["--suite", "pppo"], "suite 'pppo' is not known; did you mean 'ppo'?"),
    (["--suite", "ppo", "--row", "ppo 4x129"], "did you mean 'ppo 4x128'?"),
    (["--peer", "purejax"], "peer 'purejax' is not known; did you mean 'purejaxrl'?"),
    (["--peer", "sb3=/nowhere/python"], "there is no Python at /nowhere/python"),
    (["--peer", "purejaxrl"], "write --peer purejaxrl=PYTHON:CHECKOUT"),
    (["--peer", "sb3=python:checkout"], "write --peer sb3=PYTHON"),
    (["--peer", f"purejaxrl={sys.executable}:/nowhere"], "there is no directory /nowhere"),
    (["--suite", "dqn", "--peer", "sb3"], "peer sb3 can do none of the chosen rows"),
    (["--draw", "x.svg"], "--draw must be a .png file"),
]


@pytest.mark.parametrize("words, sentence", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_mistakes_get_one_sentence(words, sentence, capsys):
    assert main(["bench", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_help_is_that_of_the_benchmarks(capsys):
    assert main(["bench", "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: rljax bench ") and "--repeats" in said and "--peer" in said


@pytest.mark.parametrize("words", [["--list"], ["--help"], ["--suite", "pppo"]], ids=str)
def test_without_a_checkout_one_sentence_says_where_the_benchmarks_are(
    words, monkeypatch, tmp_path, capsys
):
    (tmp_path / "benchmarks").mkdir()  # Of another package, beside an installed one.
    (tmp_path / "benchmarks/__init__.py").touch()
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    assert main(["bench", *words]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "clone the repository" in said.err and "pip install -e ." in said.err


def test_loading_the_benchmarks_puts_nothing_on_the_path():
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rljax.cli import bench\n"
        f"root = Path({str(pages.ROOT)!r})\n"
        "sys.path = [folder for folder in sys.path if Path(folder).resolve() != root.resolve()]\n"
        "before = [*sys.path]\n"
        "command = bench.load(root)\n"
        "place = Path(command.__file__).parent\n"
        "print(sys.path == before, command.bench.name, place == root / 'benchmarks')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True bench True\n", done.stderr
