"""Our own side does what each row says, and is found out if its result is wrong."""

import json
import runpy
import sys
from dataclasses import replace

import pages
import pytest

from benchmarks import measuring
from benchmarks.libraries import LIBRARIES
from benchmarks.rows import ROWS

SIDES = pages.ROOT / "benchmarks/sides"


@pytest.fixture(scope="module")
def side():
    """The names of our own side's script."""
    sys.path.insert(0, str(SIDES))
    yield runpy.run_path(str(SIDES / "run_rljax.py"))
    sys.path.remove(str(SIDES))


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


@pytest.mark.long
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


@pytest.mark.long
def test_a_replay_gives_back_what_was_added(answer):
    given = answer(row("replay prioritized 10k"), rows=512, cycles=200)
    assert given["result"] == 1.0 and given["amount"] == 200


@pytest.mark.slow
def test_variants_are_trained_beside_ours(answer):
    compared = row("min_gru 128")
    small = {"total_env_steps": 16 * 128 * 2, "runs": 1}
    given = answer(compared, **small)
    assert given["amount"] == 16 * 128 * 2 and given["beside"].keys() == {"gru"}
    assert given["beside"]["gru"]["amount"] == given["amount"] and given["result"] > 5


@pytest.mark.long
def test_rollouts_of_several_agents_give_the_return_of_the_team(answer):
    rollout = row("rollout spread 64")
    given = answer(rollout, rollouts=4)
    assert given["amount"] == 16_384 * 4  # of environments, not of agents
    assert failure(rollout, given) is None


@pytest.mark.slow
def test_steps_of_agents_are_compared_with_steps_of_single_environments(answer):
    given = answer(row("agent axis 16x128"), total_env_steps=16 * 128 * 20, runs=1)
    alone = given["beside"]["ppo"]
    assert given["amount"] == alone["amount"] == 3 * 16 * 128 * 20
    assert 0 < given["result"] < 1


def test_regained_is_a_part_of_the_first_return(side):
    metrics = {"charts/episodes": [2, 9, 1, 3], "charts/episodic_return": [-80, 5, -9, -20]}
    assert side["regained"](metrics) == 0.75


def test_flops_are_those_of_the_products(side):
    # Actor 4-8-2 and critic 4-8-1: 6 for each of 48 and of 40 weights, but 4 for the first 32.
    agent = side["config"](row("ppo 4x128").work).agent()
    assert side["flops_of_a_row"](agent, [8]) == 6 * (48 + 40) - 2 * (32 + 32)


def test_every_row_is_work_that_we_and_its_peers_can_read(side):
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert json.loads(json.dumps(row.work)) == row.work
        assert all((SIDES / f"{LIBRARIES[peer].script}.py").exists() for peer in row.peers)
        if "agent" in row.work:
            assert side["config"](row.work).top.total_env_steps == row.work["total_env_steps"]
        assert row.work["kind"] in side["KINDS"]
