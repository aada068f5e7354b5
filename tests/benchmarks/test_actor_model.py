"""The model of actors and a learner is its formulae, and its costs are of what it says they are."""

import json

import pytest
from click.testing import CliRunner


@pytest.fixture
def model(study):
    return study("actor_model")


@pytest.fixture
def costs(model):
    return model.Costs(
        simulator=1e-3,
        policy=2e-3,
        policy_row=1e-6,
        gradient=4e-3,
        learn_once=5e-3,
        learn_step=1e-5,
        absorb=6e-3,
        call=7e-3,
        take=8e-3,
        trajectory_bytes=10_000,
        parameter_bytes=20_000,
        envs=4,
        length=10,
    )


def test_rates_are_those_of_the_formulae(model, costs):
    network, steps = model.Network(bandwidth=1e6, latency=1e-4, cores=2), 3 * 4 * 10
    act = 10 * (1e-3 + 2e-3 + 1e-6 * 2 * 4) + 7e-3 + 0.01 + 1e-4
    take, learn, publish = 3 * (8e-3 + 0.01), 5e-3 + 1e-5 * steps, 2 * 0.02 + 1e-4
    learner = take + learn + publish
    rate, pace = model.synchronous(costs, network, 3)
    assert rate == pytest.approx(steps / (act + learner)) and pace == "learner"
    rate, pace = model.asynchronous(costs, network, 3)
    assert rate == pytest.approx(steps / learner) and pace == "learner"
    slow = costs._replace(simulator=1.0)
    rate, pace = model.asynchronous(slow, network, 3)
    assert rate == pytest.approx(steps / (act + 10 * (1.0 - 1e-3))) and pace == "actors"
    rate, pace = model.parameter_server(costs, network, 3)
    assert rate == pytest.approx(steps / (3 * (8e-3 + 6e-3 + 0.04))) and pace == "learner"
    rate, pace = model.parameter_server(costs, network, 1)
    assert rate == pytest.approx(40 / (0.03 + 4e-3 + 7e-3 + 2 * (0.02 + 1e-4)))
    assert pace == "actors"


def test_a_file_of_costs_becomes_a_table_and_a_picture(model, costs, tmp_path):
    path, picture = tmp_path / "costs.json", tmp_path / "model.png"
    path.write_text(json.dumps({"measured": {}, "costs": costs._asdict()}))
    words = ["--from", str(path), "--plot", str(picture)]
    done = CliRunner().invoke(model.main, words, catch_exceptions=False)
    rows = done.output.splitlines()
    assert [row.split(" | ")[0] for row in (rows[2], rows[-1])] == ["| 1", "| 1,024"]
    assert picture.stat().st_size > 1000
    assert CliRunner().invoke(model.main, []).exit_code == 2


@pytest.mark.slow
def test_costs_are_measured(model, tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "costs.json"
    CliRunner().invoke(
        model.main, ["--measure", str(out), "--repeats", "2"], catch_exceptions=False
    )
    found = json.loads(out.read_text())["costs"]
    costs = model.Costs(**found)
    assert (costs.envs, costs.length) == (16, 16)
    assert costs.trajectory_bytes > 16 * 16 * 2 * 4 * 4  # both observations
    assert 0 < costs.take <= costs.call and costs.simulator > 0 and costs.absorb > 0
