"""Sweeps whose trials are one population: what they find, and that a kill changes nothing of it."""

import pytest
from PIL import Image

from rljax import tune
from rljax.errors import UsageError
from rljax.experiments import config, metrics

LR = {"low": 1e-4, "high": 1e-1, "scale": "log"}
SPACE = {"hparams": {"lr": LR, "gamma": {"low": 0.9, "high": 0.999}}}
GIVEN = {
    "pbt": {"method": "pbt", "trials": 4, "interval_env_steps": 160},
    "halving": {"method": "halving", "trials": 4, "eta": 2},
}
TINY = """
env = "CartPole-v1"
total_env_steps = 640
[structure]
num_envs = 4
rollout_length = 8
num_epochs = 1
num_minibatches = 2
hidden = [8]
[evaluation]
episodes = 4
"""


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """A function from a method to a sweep that nothing has interrupted."""
    known = {}

    def run(method):
        if method not in known:
            path = tmp_path_factory.mktemp("sweeps") / method
            known[method] = tune.run(small, SPACE, run_dir=path, **GIVEN[method])
        return known[method]

    return run


@pytest.mark.slow
def test_pbt_finds_a_schedule(finished):
    sweep = finished("pbt")
    assert [o.env_steps for o in sweep.outcomes] == [640] * 4
    best, path = sweep.best, sweep.directory.path
    assert best.value == max(o.value for o in sweep.outcomes)
    assert (
        best.became and config.load(path / "best.toml").hparams["lr"] == best.became["hparams.lr"]
    )
    moved = [o for o in sweep.outcomes if dict(o.trial.params) != dict(o.became)]
    assert moved  # losers were replaced
    for o in sweep.outcomes:
        rows = metrics.read(sweep.directory.trial(o.trial.number).metrics)
        assert len(rows) == 20 and rows[-1]["evaluation/return_mean"] == o.value
        assert rows[-1]["population/lr"] == pytest.approx(o.became["hparams.lr"])
        selections = [row["iteration"] for row in rows if row["population/parent"] is not None]
        assert selections == [5, 10, 15, 20]
    assert Image.open(path / "population/schedule.png").size[0] > 500


@pytest.mark.slow
def test_halving_gives_up_all_but_one(finished):
    sweep = finished("halving")
    assert sorted(o.env_steps for o in sweep.outcomes) == [160, 160, 320, 640]
    assert sweep.best.env_steps == 640
    first = [metrics.read(sweep.directory.trial(n).metrics)[4] for n in range(4)]
    assert [row["env_steps"] for row in first] == [160] * 4
    for o in sweep.outcomes:
        rows = metrics.read(sweep.directory.trial(o.trial.number).metrics)
        assert [row["iteration"] for row in rows] == list(range(1, o.env_steps // 32 + 1))
    values = {o.env_steps: o.value for o in sorted(sweep.outcomes, key=lambda o: o.value)}
    assert None not in values.values()
    best = config.load(sweep.directory.best)
    assert best.hparams["lr"] == sweep.best.trial.params["hparams.lr"]


@pytest.mark.parametrize(
    "method, rows", [pytest.param("pbt", 8, marks=pytest.mark.slow), ("halving", 1)]
)
@pytest.mark.long
def test_a_killed_one_is_taken_up_where_it_was(
    method, rows, finished, small, tmp_path, monkeypatch
):
    whole = finished(method)
    path, append, written = tmp_path / "killed", metrics.append, []

    def killed(file, row):
        if len(written) == rows:
            raise Killed
        written.append(row)
        append(file, row)

    with monkeypatch.context() as patched:
        patched.setattr(metrics, "append", killed)
        with pytest.raises(Killed):
            tune.run(small, SPACE, run_dir=path, **GIVEN[method])
    again = []

    def taken_up(file, row):
        append(file, row)
        again.append(row)

    monkeypatch.setattr(metrics, "append", taken_up)
    resumed = tune.resume(path)
    assert resumed.directory.table.read_text() == whole.directory.table.read_text()
    assert again[0]["iteration"] > 5  # it did not begin anew
    for number in range(4):
        found, expected = (
            [
                {k: v for k, v in row.items() if k != "charts/SPS"}
                for row in metrics.read(sweep.directory.trial(number).metrics)
            ]
            for sweep in (resumed, whole)
        )
        assert found == expected


@pytest.mark.parametrize(
    "method, space, given, message",
    [
        (
            "pbt",
            {"structure": {"num_envs": {"values": [4, 8]}}},
            {},
            "num_envs cannot vary .* 'pbt'",
        ),
        (
            "halving",
            {"structure": {"num_envs": {"values": [4, 8]}}},
            {},
            "cannot vary .* 'halving'",
        ),
        ("pbt", SPACE, {"seeds": 2}, "trained once: leave out seeds = 2"),
        ("pbt", {"hparams": {"lr": {"values": [0.1, 0.2]}}}, {}, "moves numbers within bounds"),
        ("pbt", SPACE, {"trials": 1}, "needs at least 2 trials"),
        ("halving", SPACE, {"eta": 1}, "eta must be at least 2"),
        ("halving", SPACE, {"trials": 4096, "eta": 2}, "need 13 stages"),
    ],
)
def test_what_does_not_fit_is_refused(method, space, given, message, small):
    with pytest.raises(UsageError, match=message):
        tune.resolve(small, space, method=method, **given)


def test_ray_has_nothing_to_share_out(small, tmp_path):
    with pytest.raises(UsageError, match="train in one program"):
        tune.run(small, SPACE, run_dir=tmp_path / "x", driver="ray", **GIVEN["pbt"])
    assert not (tmp_path / "x").exists()
