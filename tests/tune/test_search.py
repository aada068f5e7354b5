import json
import math

import pytest

from rljax import tune
from rljax.errors import UsageError
from rljax.tune import methods, sweeps
from rljax.tune.trials import Outcome, Trial, batches, ranked

LR = {"lr": {"low": 1e-4, "high": 1e-1, "scale": "log"}}


def trials_of(sweep):
    return methods.get(sweep.settings.method).search(sweep).ask()


def told(sweep, value, rounds):
    """The trials that a Bayesian search asks for, told the values of a function."""
    search = methods.get("bayes").search(sweep)
    asked = []
    for _ in range(rounds):
        trials = search.ask()
        asked += trials
        search.tell([Outcome(trial, (), value(trial)) for trial in trials])
    return asked, search


def test_a_random_trial_depends_on_the_seed_and_its_number_alone(config_):
    space = {"hparams": LR, "structure": {"num_epochs": {"values": [1, 2, 4]}}}
    few = trials_of(tune.resolve(config_, space, trials=4))
    many = trials_of(tune.resolve(config_, space, trials=9, batch=2))
    other = config_.__class__(**{**vars(config_), "top": type(config_.top)("CartPole-v1", seed=1)})
    assert many[:4] == few and len({t.params["hparams.lr"] for t in many}) == 9
    assert trials_of(tune.resolve(other, space, trials=4))[0] != few[0]


def test_a_grid_is_every_combination_once(config_):
    space = {
        "hparams": {"lr": {"low": 1, "high": 2, "num": 3}},
        "structure": {"hidden": {"values": [[4], [8]]}},
    }
    sweep = tune.resolve(config_, space, method="grid")
    found = [tuple(trial.params.values()) for trial in trials_of(sweep)]
    assert found == [(lr, (h,)) for lr in (1.0, 1.5, 2.0) for h in (4, 8)]
    assert sweep.settings.trials == 6
    with pytest.raises(UsageError, match="trials = 5, but the grid has 6 points: leave trials out"):
        tune.resolve(config_, space, method="grid", trials=5)


def test_trials_of_one_structure_come_in_batches_of_equal_size():
    trials = [Trial(i, {"structure.x": i % 2, "hparams.y": i}) for i in range(17)]
    found = batches(trials, 4)
    assert [len(b.trials) for b in found] == [3, 3, 3, 4, 4]
    assert [b.size for b in found] == [3, 3, 3, 4, 4]
    assert {b.structure["structure.x"] for b in found[:3]} == {0}
    assert sorted(t.number for b in found for t in b.trials) == list(range(17))
    last = batches(trials[:1] * 5, 2)
    assert [len(b.trials) for b in last] == [2, 2, 1] and {b.size for b in last} == {2}


def test_the_best_come_first_and_the_diverged_not_at_all():
    values = [1.0, None, 3.0, 3.0]
    outcomes = [Outcome(Trial(i, {}), (), value) for i, value in enumerate(values)]
    assert [o.trial.number for o in ranked(outcomes)] == [2, 3, 0]


def test_of_equal_trials_the_one_whose_worst_seed_is_better_is_better():
    worst = (495.0, 500.0, 351.0, 500.0)
    outcomes = [Outcome(Trial(i, {}), (500.0, seed), 500.0) for i, seed in enumerate(worst)]
    assert [o.trial.number for o in ranked(outcomes)] == [1, 3, 0, 2]


@pytest.mark.parametrize(("seeds", "objective"), [(1, "mean"), (7, "mean"), (8, "IQM")])
def test_the_mean_of_few_seeds_is_maximised_and_of_many_the_iqm(config_, seeds, objective):
    assert tune.resolve(config_, {"hparams": LR}, seeds=seeds).settings.objective == objective
    given = tune.resolve(config_, {"hparams": LR}, seeds=seeds, objective="IQM")
    assert given.settings.objective == "IQM"


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_sampler_asked_and_told_again_is_where_it_was(config_, sampler):
    pytest.importorskip("optuna")
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    space = {"hparams": {**LR, "gamma": {"low": 0.9, "high": 0.999}}}
    sweep = tune.resolve(config_, space, method="bayes", sampler=sampler, trials=22, batch=4)

    def value(trial):
        lr = trial.params["hparams.lr"]
        return None if lr > 3e-2 else -lr  # some diverge

    asked, search = told(sweep, value, rounds=5)
    again, search_again = told(sweep, value, rounds=5)
    last = search.ask()
    assert asked == again and search_again.ask() == last
    assert [t.number for t in asked + last] == list(range(22)) and not told(
        sweep, lambda trial: 0.0, rounds=6
    )[1].ask()
    assert all(1e-4 <= t.params["hparams.lr"] <= 1e-1 for t in asked)
    assert json.loads(json.dumps([t.params for t in asked])) == [t.params for t in asked]


def test_a_bayesian_search_learns_from_values_and_from_what_diverged(config_):
    pytest.importorskip("optuna")
    space = {"hparams": LR, "structure": {"hidden": {"values": [[4], [8]]}}}
    sweep = tune.resolve(config_, space, method="bayes", trials=64, batch=4)

    def value(trial):
        lr, hidden = trial.params["hparams.lr"], trial.params["structure.hidden"]
        return None if hidden == (4,) else -abs(lr - 1e-3)

    late = told(sweep, value, rounds=16)[0][-24:]
    assert sum(t.params["structure.hidden"] == (8,) for t in late) >= 18
    assert sum(3e-4 < t.params["hparams.lr"] < 3e-3 for t in late) >= 12


def test_cma_es_is_told_of_trials_that_diverged(config_):
    pytest.importorskip("optuna")
    pytest.importorskip("cmaes")
    space = {"hparams": {**LR, "gamma": {"low": 0.9, "high": 0.999}}}
    sweep = tune.resolve(config_, space, method="bayes", sampler="cmaes", trials=64, batch=8)

    def value(trial):
        lr = trial.params["hparams.lr"]
        return None if lr > 3e-3 or trial.number < 8 else -trial.params["hparams.gamma"]

    trials, search = told(sweep, value, rounds=8)
    values = [trial.value for trial in search._study.trials]
    assert all(isinstance(v, float) and math.isfinite(v) for v in values)
    diverged = [v for t, v in zip(trials, values, strict=True) if value(t) is None]
    assert len(diverged) > 8 and max(diverged) <= min(set(values) - set(diverged))
    # Half of the space diverges. Of a sampler that does not hear of it 6 of the last 24 would, too.
    assert sum(value(trial) is None for trial in trials[-24:]) <= 3


def test_what_diverged_is_told_as_the_worst_of_all_so_far(config_):
    pytest.importorskip("optuna")
    sweep = tune.resolve(config_, {"hparams": LR}, method="bayes", trials=6, batch=2)
    values = [5.0, None, -7.0, None, None, 2.0]
    _, search = told(sweep, lambda trial: values[trial.number], rounds=3)
    assert [t.value for t in search._study.trials] == [5.0, 5.0, -7.0, -7.0, -7.0, 2.0]


def test_a_search_that_learns_is_asked_in_rounds_and_others_at_once(config_):
    pytest.importorskip("optuna")
    sweep = tune.resolve(config_, {"hparams": LR}, trials=32, seeds=1)
    assert sweeps.placed(sweep).settings.batch == 32
    bayes = tune.resolve(config_, {"hparams": LR}, trials=32, seeds=1, method="bayes")
    assert sweeps.placed(bayes).settings.batch == 4


def test_every_structure_is_built_before_anything_is_compiled(config_):
    structure = {"num_minibatches": {"values": [2, 5]}}
    for given in ({"method": "grid"}, {"method": "bayes", "trials": 4}):
        sweep = tune.resolve(config_, {"structure": structure}, **given)
        with pytest.raises(UsageError, match="^structure.num_minibatches = 5: .* does not divide"):
            sweeps.placed(sweep)
