import pytest
from fake_sides import fake, measured


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
    assert "the result of rljax is 0.4, but should be at least 0.5" in str(row["sides"])
    row = measured(fake("nan", (1.0,), work={"result": float("nan")}), 1)
    assert not row["ratios"] and row["sides"]["fake"]["failure"]
