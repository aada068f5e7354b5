import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import drawing, measuring, result_files, rows
from benchmarks.rows import LIBRARIES, ROWS, Library, Row
from rljax.cli import main
from rljax.errors import RunError, UsageError

FAKE = """
import json, os, sys
work = json.loads(sys.argv[1])
log = {log!r}
with open(log, "a") as file:
    alone = "PYTHONPATH" not in os.environ
    file.write(json.dumps([work["side"], work["seed"], alone, sys.argv[2:]]) + "\\n")
seconds = work[work["side"] + " seconds"]
if seconds is None:
    sys.exit("no luck today")
print("what a library says of itself")
print(json.dumps(dict(
    amount=100, seconds=[20.0, seconds[work["seed"]]], result=work.get("result", 1.0),
    compile_seconds=2.0, peak_memory_bytes=2**30, versions=dict(python="3"), devices=["cpu: cpu"],
    beside=work.get("beside", {{}}))))
"""


def fake(name, theirs, ours=(1.0, 2.0, 4.0), **changes):
    work = {"rljax seconds": ours, "fake seconds": theirs, **changes.pop("work", {})}
    return Row(name, "fakes", work, least=0.5, peers=("fake",), **changes)


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Both sides are scripts that answer what they are told; gives the log of their calls."""
    log = tmp_path / "log"
    for name in ("rljax", "fake"):
        (tmp_path / f"run_{name}.py").write_text(FAKE.format(log=str(log)))
    monkeypatch.setattr(measuring, "SIDES", tmp_path)
    monkeypatch.setitem(LIBRARIES, "fake", Library("Fake", "run_fake", "is no library"))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def measured(row, repeats=3):
    return measuring.measure(row, measuring.peers(["fake"]), repeats, lambda sentence: None)


def test_sides_take_turns_in_processes_of_their_own(sides):
    row = measured(fake("turns", (2.0, 3.0, 16.0)))
    assert sides() == [
        [name, seed, name == "fake", []] for seed in range(3) for name in ("rljax", "fake")
    ]
    ours, theirs = row["sides"]["rljax"], row["sides"]["fake"]
    assert ours["values"] == [100.0, 50.0, 25.0] and ours["median"] == 50.0
    assert (theirs["low"], theirs["high"]) == (6.25, 50.0)
    # Of medians, 50 / 33.3; pairs are 2, 1.5 and 4 times as fast.
    assert row["ratios"]["fake"] == pytest.approx({"ratio": 1.5, "low": 1.5, "high": 4.0})


def test_of_a_duration_less_is_better(sides):
    row = measured(fake("duration", (3.0, 3.0, 3.0), unit="s"))
    assert row["sides"]["rljax"]["median"] == 2.0 and row["ratios"]["fake"]["ratio"] == 1.5


def test_what_is_measured_beside_is_a_side(sides):
    beside = {"beside": {"matmul": {"amount": 300, "seconds": [3.0]}}}
    row = measured(fake("beside", (1.0,), (4.0,), work=beside), 1)
    assert row["ratios"]["matmul"]["ratio"] == 0.25 and row["ratios"]["fake"]["ratio"] == 0.25


def test_a_wrong_result_has_no_speed(sides):
    row = measured(fake("wrong", (1.0,), work={"result": 0.4}), 1)
    assert not row["ratios"]
    assert "rljax came to a result of 0.4, where it should be at least 0.5" in str(row["sides"])
    row = measured(fake("nan", (1.0,), work={"result": float("nan")}), 1)
    assert not row["ratios"] and row["sides"]["fake"]["failure"]


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
    (["--suite", "dqn", "--peer", "sb3"], "sb3 has no part in the rows that are asked for"),
    (["--draw", "x.svg"], "a picture is a .png file"),
]


@pytest.mark.parametrize("words, sentence", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_mistakes_get_one_sentence(words, sentence, capsys):
    assert main(["bench", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_rows_are_found_by_suite_and_name():
    assert [row.name for row in rows.chosen([], ["ppo 4x128"])] == ["ppo 4x128"]
    assert {row.suite for row in rows.chosen([], [])} == {*rows.SUITES} - {"growth"}
    assert {row.suite for row in rows.chosen(["replay", "dqn"], [])} == {"replay", "dqn"}
    short = rows.chosen(["ppo"], ["short", "ppo 64x128"])
    assert [row.name for row in short] == ["ppo 64x128", "ppo 4x128 short"]


def test_every_row_is_work_that_we_and_its_peers_can_read(side):
    assert len({row.name for row in ROWS}) == len(ROWS)
    scripts = Path(measuring.__file__).parent / "sides"
    for row in ROWS:
        assert json.loads(json.dumps(row.work)) == row.work
        assert all((scripts / f"{LIBRARIES[peer].script}.py").exists() for peer in row.peers)
        if "agent" in row.work:
            assert side["config"](row.work).top.total_env_steps == row.work["total_env_steps"]
        assert row.work["kind"] in side["KINDS"]


@pytest.fixture(scope="module")
def side():
    """The names of our own side's script."""
    folder = Path(measuring.__file__).parent / "sides"
    sys.path.insert(0, str(folder))
    yield runpy.run_path(str(folder / "run_rljax.py"))
    sys.path.remove(str(folder))


@pytest.fixture
def answer(side, monkeypatch, capsys):
    """Our own side's answer to some work, in this process."""

    def answer(row, **changes):
        work = {**row.work, "side": "rljax", "seed": 0, **changes}
        monkeypatch.setattr(sys, "argv", ["run_rljax.py", json.dumps(work)])
        monkeypatch.setattr(side["side"], "LEAST_SECONDS", 0.0)
        side["KINDS"][work["kind"]](work)
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return answer


def row(name):
    return next(row for row in ROWS if row.name == name)


def failure(row, *answers):
    return measuring._side(row, "rljax", answers)["failure"]


def test_a_row_fails_where_nothing_is_learnt(answer):
    learns = row("growth environments 64")
    learns = replace(learns, work=learns.work | {"total_env_steps": 64 * 32 * 40})
    assert failure(learns, answer(learns)) is None
    hparams = learns.work["hparams"] | {"lr": 0.0}
    assert "its speed does not count" in failure(learns, answer(learns, hparams=hparams))


def test_random_rollouts_come_to_what_is_known(answer):
    rollout = row("rollout CartPole 64")
    given = answer(rollout, rollouts=20)
    assert given["amount"] == 16_384 * 20
    assert failure(rollout, given) is None


def test_a_replay_gives_back_what_was_added(answer):
    given = answer(row("replay prioritized 10k"), rows=512, cycles=200)
    assert given["result"] == 1.0 and given["amount"] == 200


def test_flops_are_those_of_the_products(side):
    # Actor 4-8-2 and critic 4-8-1: 6 for each of 48 and of 40 weights, but 4 for the first 32.
    agent = side["config"](row("ppo 4x128").work).agent()
    assert side["flops_of_a_row"](agent, [8]) == 6 * (48 + 40) - 2 * (32 + 32)


@pytest.fixture
def stored(sides, tmp_path):
    """A file of results with a ratio, and with a curve of seeds."""
    path = tmp_path / "stored.json"
    found = result_files.begin(path)
    result_files.add(found, measured(fake("ppo", (2.0, 3.0, 16.0))))
    for seeds in (1, 2, 4):
        grows = fake(f"growth seeds {seeds}", None, curve=("seeds", seeds))
        result_files.add(found, measuring.measure(grows, {}, 1, lambda sentence: None))
    result_files.save(found, path)
    return path


def test_a_picture_is_drawn_from_a_file_alone(stored, tmp_path, capsys):
    out = tmp_path / "speed.png"
    assert main(["bench", "--from", str(stored), "--from", str(stored), "--draw", str(out)]) == 0
    assert "Fake" not in capsys.readouterr().err
    assert Image.open(out).mode == "RGBA" and Image.open(out).getpixel((0, 0))[3] == 0
    found = result_files.load(stored)
    assert drawing.bars(found) == [("ppo", "fake", 1.5, 1.5, 4.0)]
    assert drawing.curve(found, "seeds") == [(1, 100.0), (2, 100.0), (4, 100.0)]


def test_the_table_of_the_readme_names_rows(stored, capsys):
    assert main(["bench", "--from", str(stored), "--markdown"]) == 0
    line = "| `ppo` | 50 steps/s | Fake 33.3 steps/s | 1.50 (1.50 to 4.00) |"
    assert line in capsys.readouterr().out.splitlines()


def test_results_of_another_make_are_refused(stored, tmp_path):
    found = result_files.load(stored)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(found | {"schema": 99}))
    with pytest.raises(RunError, match="schema 99"):
        result_files.load(other)
    other.write_text("[]")
    with pytest.raises(RunError, match="no results"):
        result_files.load(other)
    other.write_text(json.dumps(found | {"machine": {"processor": "Z80"}}))
    with pytest.raises(RunError, match=r"another machine \(Z80\)"):
        result_files.begin(other)
    with pytest.raises(RunError, match="cannot be written"):
        result_files.begin(tmp_path / "nowhere" / "x.json")
    with pytest.raises(RunError, match="measure with --peer"):
        drawing.picture([found | {"rows": []}])


def test_a_peer_that_is_no_library_is_refused():
    with pytest.raises(UsageError, match="there is"):
        measuring.peers(["zzzzzz"])
