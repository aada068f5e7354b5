import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from rljax import tune
from rljax.experiments import config, experiment
from rljax.experiments.metrics import EVALUATED
from rljax.replay import capacity
from rljax.training.evaluation import Evaluation
from rljax.training.faults import Fault
from rljax.tune import batch_training, settings, sweeps
from rljax.tune.trials import Batch, Trial

GOOD = {"hparams.lr": 1e-2, "hparams.gamma": 0.99}


@pytest.fixture(scope="module")
def trainer(tiny):
    config_ = config.load(tiny, {"seed": "3"})
    return batch_training.Trainer(sweeps.placed(tune.resolve(config_, settings.beside(tiny))))


def clockless(rows):
    return [{name: value for name, value in row.items() if name != "charts/SPS"} for row in rows]


@pytest.mark.long
def test_a_trial_is_the_runs_of_its_seeds(trainer, config_, tmp_path):
    [outcome, _] = trainer(Batch((Trial(0, GOOD), Trial(1, {**GOOD, "hparams.lr": 1e-3})), 2))
    assert outcome.episodes == 4 and outcome.env_steps == 640 and outcome.failure is None
    assert [row["env_steps"] for row in outcome.rows] == [160, 320, 480, 640]
    assert np.isclose(outcome.value, np.mean(outcome.seeds))
    assert outcome.interval is None  # of two seeds
    assert outcome.evaluation["seeds"][1]["mean"] == outcome.seeds[1]
    assert outcome.evaluation["training_env_steps"] == 640
    second = replace(config_.varied(GOOD, "test"), top=replace(config_.top, seed=4))
    alone = experiment.start(second, tmp_path / "alone").run
    rows = [json.loads(line) for line in alone.metrics.read_text().splitlines()]
    for mine, its in zip(outcome.rows, rows, strict=True):
        for name in ("losses/entropy", "losses/value_loss", "charts/episodic_return"):
            np.testing.assert_allclose(mine[name][1], its[name], rtol=1e-4)
    assert rows[-1]["evaluation/return_mean"] == outcome.seeds[1]


@pytest.mark.long
def test_a_member_that_diverges_is_recorded_and_leaves_the_others_their_bits(trainer):
    other = Trial(1, {**GOOD, "hparams.lr": 3e-3})
    bad = Trial(0, {**GOOD, "hparams.lr": 1e38})
    lost, beside_it = trainer(Batch((bad, other), 2))
    _, undisturbed = trainer(Batch((Trial(0, GOOD), other), 2))
    assert clockless(beside_it.rows) == clockless(undisturbed.rows)
    assert replace(beside_it, rows=()) == replace(undisturbed, rows=())
    assert lost.value is None and lost.interval is None and lost.evaluation is None
    assert lost.failure == "seed 0 diverged at env step 32: a gradient is not finite"
    assert lost.rows == [] and lost.seeds == (None, None)


def test_of_a_trial_that_diverges_the_rows_before_are_kept():
    rows = [
        {"iteration": i, "charts/SPS": 9.0, "charts/episodes": [1.0] * 3, EVALUATED: [i, 2, 3]}
        for i in (5, 10, 15)
    ]
    played = Evaluation(np.ones((3, 4)), np.ones((3, 4), int), np.ones((3, 4), bool))
    faults = {
        1: Fault(8, 80, "losses/entropy is not finite", ()),
        2: Fault(6, 60, "a reward is not finite", ()),
    }
    first = batch_training.outcome(Trial(0, {}), slice(0, 1), rows, played, faults, 150, "mean")
    assert first.value == 15 and first.rows[0][EVALUATED] == 5 and first.interval is None
    assert first.rows[0]["charts/SPS"] == 3 and first.evaluation["returns"] == [1.0] * 4
    lost = batch_training.outcome(Trial(1, {}), slice(1, 3), rows, played, faults, 150, "mean")
    assert lost.failure == "seed 1 diverged at env step 60: a reward is not finite"
    assert [row["iteration"] for row in lost.rows] == [5] and lost.rows[0][EVALUATED] == [2, 3]


@pytest.mark.parametrize(("objective", "value"), [("mean", 375.0), ("IQM", 500.0)])
def test_a_trial_is_worth_its_seeds_and_has_an_interval_from_five_on(objective, value):
    scores = [0.0, 500.0, 500.0, 500.0] * 2
    row = {"iteration": 9, "charts/SPS": 9.0, "charts/episodes": [1.0] * 8, EVALUATED: scores}
    played = Evaluation(np.ones((8, 4)), np.ones((8, 4), int), np.ones((8, 4), bool))

    def found(seeds):
        return batch_training.outcome(
            Trial(0, {}), slice(0, seeds), [row], played, {}, 150, objective
        )

    assert found(4).value == found(8).value == value and found(4).interval is None
    low, high = found(8).interval
    assert 0 < low < value <= high <= 500


@pytest.mark.long
def test_a_batch_with_fewer_trials_runs_in_the_program_of_the_others(trainer):
    full = trainer(Batch((Trial(0, GOOD), Trial(1, {**GOOD, "hparams.gamma": 0.9})), 2))
    compiled = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        last = trainer(Batch((Trial(0, GOOD),), 2))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(last) == 1 and not compiled
    assert clockless(last[0].rows) == clockless(full[0].rows) and last[0].seeds == full[0].seeds


@pytest.mark.long
def test_members_that_do_not_divide_by_the_devices_are_filled_up(tiny):
    settings = dict(seeds=1, batch=3, devices=2)
    program = batch_training.Trainer(sweeps.placed(tune.resolve(tiny, **settings))).program(
        Batch((Trial(0, GOOD),), 3)
    )
    assert program.members == 4


def test_as_many_members_as_memory_and_cache_have_room_for(config_, monkeypatch):
    agent = config_.agent()
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    state = capacity.size_in_bytes(shapes)
    monkeypatch.setattr(capacity, "free_memory", lambda device=None: None)
    assert batch_training.members_at_once(agent, 1) == batch_training.CACHE // state
    assert batch_training.members_at_once(agent, 4) == 4 * (batch_training.CACHE // state)
    monkeypatch.setattr(capacity, "free_memory", lambda device=None: 20 * state)
    assert batch_training.members_at_once(agent, 1) == 10
    assert batch_training.members_at_once(agent, 2) == 10
    monkeypatch.setattr(capacity, "free_memory", lambda device=None: 1)
    assert batch_training.members_at_once(agent, 1) == 1
