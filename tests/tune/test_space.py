import math
import tomllib

import numpy as np
import pytest

from rljax import tune
from rljax.errors import UsageError
from rljax.tune import settings
from rljax.tune.space import Choice, Range, parse

LR = "[hparams]\nlr = { low = 1e-4, high = 1e-1 }\n"


def resolve(config, text, **given):
    return tune.resolve(config, tomllib.loads(text), **given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[hparams]\nlearning_rate = { low = 0, high = 1 }",
            "'hparams.learning_rate' is not known",
        ),
        ("[hparams]\nlrr = { low = 0, high = 1 }", "did you mean 'hparams.lr'?"),
        ("[hparam]\nlr = { low = 0, high = 1 }", "did you mean 'hparams'?"),
        ("[sweep]\ntrails = 4\n" + LR, "did you mean 'sweep.trials'?"),
        ("[sweep]\nseed = 4\n" + LR, "the seed of a sweep is its config's"),
        ("env = { values = ['CartPole-v1'] }\n" + LR, "env cannot vary in a sweep: returns of"),
        ("agent = { values = ['ppo'] }\n" + LR, "agent cannot vary in a sweep"),
        ("seed = { values = [1, 2] }\n" + LR, "seed cannot vary .* write seeds = 4 under"),
        ("num_seeds = 4\n" + LR, "num_seeds cannot vary in a sweep"),
        ("total_env_steps = { values = [9] }\n" + LR, "trials of different lengths do not"),
        ("[evaluation]\nepisodes = { values = [1] }\n" + LR, "evaluation cannot vary in a sweep"),
        ("", "the search space is empty: write, say"),
        ("[sweep]\ntrials = 4", "the search space is empty"),
        ("hparams = 3", "hparams is a section"),
        ("[hparams]\nlr = 3", r"lr must be \{ low = ..., high = ... \} or \{ values"),
        ("[hparams]\nlr = { low = 2, high = 1 }", "low = 2 is not below high = 1"),
        ("[hparams]\nlr = { low = 1, high = 1 }", "low = 1 is not below high = 1"),
        ("[hparams]\nlr = { high = 1 }", "has no low"),
        ("[hparams]\nlr = { low = '1', high = 2 }", "low must be a number, not '1'"),
        ("[hparams]\nlr = { low = true, high = 2 }", "low must be a number, not True"),
        ("[hparams]\nlr = { low = nan, high = 2 }", "low must be a number, not nan"),
        ("[hparams]\nlr = { low = 0, high = 1, scale = 'log' }", "a log scale begins above 0"),
        ("[hparams]\ngamma = { low = 0.9, high = 1.1 }", "gamma must lie from 0 to 1, not be 1.1"),
        ("[hparams]\nlr = { values = [1e-3, -1e-3] }", "lr must be at least 0, not -0.001"),
        ("[hparams]\nlr = { low = 1, high = 2, scale = 'lin' }", "did you mean 'linear'?"),
        ("[hparams]\nlr = { low = 1, high = 2, num = 1 }", "num must be a whole number of at"),
        ("[hparams]\nlr = { lo = 1, high = 2 }", "did you mean 'low'?"),
        ("[hparams]\nlr = { values = [1, 2], low = 1 }", "'low' is not known"),
        ("[hparams]\nlr = { values = [] }", "values must be a list of at least one"),
        ("[hparams]\nlr = { values = [1, 1.0] }", "values has one of them twice"),
        ("[hparams]\nlr = { values = ['fast'] }", "lr must be a number, not 'fast'"),
        ("[structure]\nnum_epochs = { values = [1.5] }", "num_epochs must be a whole number"),
        ("[structure]\nnum_epochs = { low = 1, high = 4 }", "is compiled, so it takes a list"),
    ],
)
def test_what_no_space_can_be_is_said_in_one_sentence(config_, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        resolve(config_, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, not 0"),
        ({"trials": 1.5}, "trials must be a whole number"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"method": "bayesian"}, "method 'bayesian' is not known; did you mean 'bayes'?"),
        ({"objective": "charts/episodic_return"}, "objective .* is not known"),
        ({"method": "bayes", "sampler": "tpee"}, "did you mean 'tpe'?"),
        ({"method": "grid"}, "hparams.lr is a range: say how many with num = 8"),
    ],
)
def test_settings_that_do_not_fit_are_said(config_, given, message):
    with pytest.raises(UsageError, match=message):
        resolve(config_, LR, **given)


def test_a_missing_extra_is_named(config_, monkeypatch):
    for extra, given in {"optuna": {}, "cmaes": {"sampler": "cmaes"}}.items():
        monkeypatch.setitem(__import__("sys").modules, extra, None)
        with pytest.raises(UsageError, match=r"needs .*pip install 'rljax-core\[sweep\]'"):
            resolve(config_, LR, method="bayes", **given)


def test_settings_of_the_command_line_go_before_those_of_the_file(config_):
    sweep = resolve(config_, "[sweep]\ntrials = 3\nseeds = 2\n" + LR, trials=7)
    assert (sweep.settings.trials, sweep.settings.seeds) == (7, 2)


def test_a_sweep_as_toml_is_the_same_sweep(config_):
    sweep = resolve(
        config_,
        "[hparams]\nlr = { low = 1e-5, high = 1, scale = 'log', num = 3 }\n"
        "gamma = { values = [0.9, 1] }\n"
        "[structure]\nhidden = { values = [[8], [8, 8]] }\nanneal_lr = { values = [true, false] }",
        seeds=3,
    )
    assert resolve(config_, sweep.toml()) == sweep
    assert sweep.space["structure.hidden"] == Choice(((8,), (8, 8)))
    assert sweep.space["hparams.gamma"].values == (0.9, 1.0)


def test_samples_are_uniform_on_their_scale():
    random = np.random.default_rng(0)
    linear = np.array([Range(2.0, 4.0).sample(random) for _ in range(4000)])
    log = np.array([Range(1e-5, 1e-1, "log").sample(random) for _ in range(4000)])
    choice = [Choice((1, "x", (3,))).sample(random) for _ in range(3000)]
    assert linear.min() >= 2 and linear.max() <= 4 and abs(linear.mean() - 3) < 0.05
    assert log.min() >= 1e-5 and log.max() <= 1e-1
    assert abs(np.log10(log).mean() + 3) < 0.1 and abs(np.log10(log).std() - 4 / 12**0.5) < 0.05
    assert all(900 < choice.count(value) < 1100 for value in (1, "x", (3,)))


def test_points_of_a_grid_include_both_ends_exactly():
    assert Range(1.0, 3.0, num=3).points() == (1.0, 2.0, 3.0)
    points = Range(1e-5, 1e-2, "log", 4).points()
    assert points[0] == 1e-5 and points[-1] == 1e-2
    assert all(math.isclose(b / a, 10) for a, b in zip(points, points[1:], strict=False))


def test_a_config_has_its_space_beside_it(tiny, tmp_path):
    assert settings.beside(tiny).name == "tiny.sweep.toml"
    assert list(tune.resolve(tiny).space) == ["hparams.lr", "hparams.gamma"]
    lonely = tmp_path / "lonely.toml"
    lonely.write_text(tiny.read_text())
    with pytest.raises(UsageError, match="there is no .*lonely.sweep.toml beside the config"):
        tune.resolve(lonely)


def test_only_what_varies_differs_from_the_config(config_):
    sweep = resolve(config_, LR, seeds=3)
    trial = sweep.trial_config({"hparams.lr": 0.5})
    changed = {k for k, v in trial.values().items() if v != config_.values()[k]}
    assert changed == {"hparams.lr", "num_seeds"}
    assert trial.top.num_seeds == 3 and trial.sources["hparams.lr"] == "sweep"
    assert parse({"hparams": {"lr": {"low": 0, "high": 1}}}, config_, "x") == {
        "hparams.lr": Range(0.0, 1.0)
    }
