"""Pictures of runs: how many seeds, which numbers, and what is refused."""

import json

import numpy as np
import pytest
from fabricated import learning, write_run
from PIL import Image

from rljax import statistics
from rljax.analysis import comparison, plots
from rljax.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two methods on two environments, three seeds each."""
    place = tmp_path_factory.mktemp("plots")
    return [
        write_run(place / f"{env}-{agent}", learning(4, 3, 100, k), env=env, agent=agent)
        for k, (env, agent) in enumerate(
            (env, agent) for env in ("CartPole-v1", "Acrobot-v1") for agent in ("ppo", "a2c")
        )
    ]


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_a_panel_for_each_environment_and_one_for_all(runs):
    figure = plots._curves(comparison.compare(runs))
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["CartPole-v1", "Acrobot-v1", "all 2 environments"]
    for axes in figure.axes[:3]:
        named = [name for name in lines(axes) if not name.startswith("_")]
        assert named == ["ppo: mean of 3 seeds", "a2c: mean of 3 seeds"]
        assert not axes.collections  # too few seeds for intervals


@pytest.mark.parametrize(
    ("count", "name", "statistic"),
    [
        (2, "mean", statistics.mean),
        (4, "mean", statistics.mean),
        (5, "mean", statistics.mean),
        (8, "IQM", statistics.interquartile_mean),
    ],
)
def test_a_curve_is_of_the_seeds_and_has_an_interval_from_five_on(count, name, statistic, tmp_path):
    returns = learning(4, count, 100, 0)
    (axes,) = plots._curves(comparison.compare([write_run(tmp_path / "run", returns)])).axes
    drawn = lines(axes)[f"ppo: {name} of {count} seeds"]
    np.testing.assert_allclose(drawn.get_ydata(), statistic(returns[..., None]), rtol=1e-12)
    np.testing.assert_array_equal(drawn.get_xdata(), [1000, 2000, 3000, 4000])
    assert len(axes.collections) == (count >= 5)
    thin = [line.get_ydata() for line in axes.get_lines() if line.get_linewidth() < 0.9]
    np.testing.assert_array_equal(thin, [] if count >= 5 else returns.T)


@pytest.mark.parametrize("kind", ["profile", "improvement"])
@pytest.mark.parametrize(("count", "intervals"), [(4, 0), (5, 2)])
def test_comparisons_have_intervals_from_five_seeds_on(kind, count, intervals, tmp_path):
    place = [write_run(tmp_path / a, learning(4, count), agent=a) for a in ("ppo", "a2c")]
    (axes,) = plots.KINDS[kind](comparison.compare(place)).axes
    bars = [line for line in axes.get_lines() if line.get_linewidth() == 3]
    assert len(axes.collections) + 2 * len(bars) == intervals


def test_a_run_of_an_older_version_is_drawn_and_reported(tmp_path):
    run = write_run(tmp_path / "run", learning(4, 2))
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    rows = [row | {"evaluation/return_iqm": row["evaluation/return_mean"]} for row in rows]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.evaluation.write_text('{"mean": 1.0, "iqm": 1.0, "std": 0.0, "env_steps": 9}\n')
    for out in ("p.png", "p.html"):
        command = "plot" if out.endswith("png") else "report"
        assert main([command, str(run.path), "--out", str(tmp_path / out)]) == 0


def test_returns_while_training_are_shown_of_one_method_alone(runs):
    watched = "episodes ended while training"
    alone = lines(plots._curves(comparison.compare(runs[:1])).axes[0])
    assert watched in alone
    compared = lines(plots._curves(comparison.compare(runs[:2])).axes[0])
    assert watched not in compared


def test_arguments_of_an_environment_may_be_lists(tmp_path):
    run = write_run(tmp_path / "run", learning(4, 2), environment__observed=[0, 2])
    assert lines(plots._curves(comparison.compare([run])).axes[0])


def test_one_seed_has_no_interval_and_is_said_to_be_one(tmp_path):
    run = write_run(tmp_path / "run", learning(4, 1))
    (axes,) = plots._curves(comparison.compare([run])).axes
    assert "ppo: 1 seed" in lines(axes) and not axes.collections


@pytest.mark.parametrize("kind", ["curves", "profile", "improvement"])
def test_every_kind_is_drawn(runs, kind, tmp_path, capsys):
    out = tmp_path / "p.png"
    paths = [str(run.path) for run in runs]
    assert main(["plot", *paths, "--out", str(out), "--kind", kind]) == 0
    assert Image.open(out).size[0] > 600
    assert capsys.readouterr().out == f"{out}\n"


def test_all_pairs_are_compared_while_they_are_few():
    assert plots.pairs(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]
    many = [str(k) for k in range(20)]
    assert plots.pairs(many) == [("0", other) for other in many[1:]]


def test_what_is_left_out_is_said(runs, tmp_path, capsys):
    empty = write_run(tmp_path / "empty", np.zeros((0, 1)))
    out = str(tmp_path / "p.png")
    assert main(["plot", str(runs[0].path), str(empty.path), "--out", out]) == 0
    assert "has no evaluation yet and is left out" in capsys.readouterr().err


REFUSED = [
    (["--kind", "improvement"], 1, 2, "no other to compare it to"),
    (["--kind", "profile"], 3, 2, "a2c has no run on Acrobot-v1"),
    (["--kind", "curve"], 1, 2, "curves"),
    (["--out", "p.pdf"], 1, 2, "--out must be a .png file"),
    (["--out", "nowhere/p.png"], 1, 1, "there is no directory nowhere"),
]


@pytest.mark.parametrize(("flags", "count", "code", "said"), REFUSED, ids=str)
def test_what_cannot_be_drawn_is_one_line(
    flags, count, code, said, runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    paths = [str(run.path) for run in runs[:count]]
    assert main(["plot", *paths, "--out", "p.png", *flags]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_profile_is_refused(tmp_path, capsys):
    empty = write_run(tmp_path / "empty", np.zeros((0, 1)))
    out = str(tmp_path / "p.png")
    assert main(["plot", str(empty.path), "--out", out, "--kind", "profile"]) == 1
    assert "has no evaluation yet" in capsys.readouterr().err
