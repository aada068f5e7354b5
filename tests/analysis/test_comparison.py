"""What belongs together, what counts, and on which scale runs are compared."""

import numpy as np
import pytest
from fabricated import learning, write_run

from rljax.analysis import comparison
from rljax.errors import RunError, UsageError


def compared(*runs):
    return comparison.compare(runs)


def test_runs_that_differ_by_seed_alone_are_one_group(tmp_path):
    first = write_run(tmp_path / "a", [[1.0, 2.0], [3.0, 4.0]])
    second = write_run(tmp_path / "b", [[5.0], [6.0]], seed=2, checkpoint__keep=9)
    (group,) = compared(first, second).groups
    assert group.label == "ppo" and [seed.seed for seed in group.seeds] == [0, 1, 2]
    np.testing.assert_array_equal(group.returns, [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]])
    np.testing.assert_array_equal(group.steps, [1000, 2000])
    assert group.success is None


def test_a_method_is_named_by_its_agent_and_what_varies_in_it(tmp_path):
    runs = [
        write_run(tmp_path / "a", [[1.0]], hparams__lr=1e-3),
        write_run(tmp_path / "b", [[1.0]], hparams__lr=3e-4, structure__hidden=[8]),
        write_run(tmp_path / "c", [[1.0]], agent="a2c"),
        write_run(tmp_path / "d", [[1.0]], env="Acrobot-v1", hparams__lr=1e-3),
        write_run(tmp_path / "e", [[1.0]], env="Acrobot-v1", agent="a2c", hparams__gamma=0.5),
    ]
    found = compared(*runs)
    methods = ["ppo hidden=[64, 64] lr=0.001", "ppo hidden=[8] lr=0.0003", "a2c"]
    assert found.labels == methods
    assert [(g.env, methods.index(g.label)) for g in found.groups] == [
        ("CartPole-v1", 0),
        ("CartPole-v1", 1),
        ("CartPole-v1", 2),
        ("Acrobot-v1", 0),
        ("Acrobot-v1", 2),
    ]


def test_a_seed_counts_once(tmp_path):
    first = write_run(tmp_path / "a", [[1.0, 2.0]], seed=3)
    again = write_run(tmp_path / "b", [[7.0, 8.0]], seed=4)
    found = compared(first, again)
    assert [seed.seed for seed in found.groups[0].seeds] == [3, 4, 5]
    np.testing.assert_array_equal(found.groups[0].returns, [[1.0, 2.0, 8.0]])
    assert "seed 4 of" in found.notes[0] and "counts once" in found.notes[0]


def test_a_run_that_repeats_another_does_not_cut_it(tmp_path):
    long = write_run(tmp_path / "a", [[1.0], [2.0]], total_env_steps=2000)
    short = write_run(tmp_path / "b", [[1.0]], total_env_steps=2000)
    assert len(compared(long, short).groups[0].steps) == 2


def test_a_run_without_an_evaluation_is_left_out_by_name(tmp_path):
    whole, empty = write_run(tmp_path / "a", [[1.0]]), write_run(tmp_path / "b", np.zeros((0, 1)))
    found = compared(whole, empty)
    assert len(found.groups) == 1 and len(found.groups[0].seeds) == 1
    assert found.notes == (f"{empty.path} has no evaluation yet and is left out",)


def test_a_group_is_cut_to_the_evaluations_of_all_its_runs(tmp_path):
    whole = write_run(tmp_path / "a", [[1.0], [2.0], [3.0]])
    later = write_run(tmp_path / "b", [[4.0], [5.0]], [2000, 3000], seed=1)
    found = compared(whole, later)
    np.testing.assert_array_equal(found.groups[0].steps, [2000, 3000])
    np.testing.assert_array_equal(found.groups[0].returns, [[2.0, 4.0], [3.0, 5.0]])
    assert "of 3 evaluations only the 2 count" in found.notes[0] and "3,000" in found.notes[0]


def test_seeds_that_were_never_evaluated_at_the_same_steps_are_refused(tmp_path):
    one = write_run(tmp_path / "a", [[1.0]], [1000], total_env_steps=2000)
    other = write_run(tmp_path / "b", [[1.0]], [2000], seed=1)
    with pytest.raises(UsageError, match="never evaluated at the same environment steps"):
        compared(one, other)


def test_metrics_of_other_seeds_than_the_config_s_are_damage(tmp_path):
    run = write_run(tmp_path / "a", [[1.0, 2.0]])
    text = run.config.read_text().replace("num_seeds = 2", "num_seeds = 3")
    run.config.write_text(text)
    with pytest.raises(RunError, match="has 2 values, but there are 3 seeds"):
        compared(run)


def test_success_rates_are_those_of_the_same_evaluations(tmp_path):
    rates = [[0.25, 0.5], [0.75, 1.0]]
    run = write_run(tmp_path / "a", [[1.0, 2.0], [3.0, 4.0]], success=rates)
    np.testing.assert_array_equal(compared(run).groups[0].success, rates)
    old = write_run(tmp_path / "b", [[1.0], [2.0]], seed=2)  # of before there were any
    assert compared(run, old).groups[0].success is None


def test_methods_are_compared_where_the_shortest_of_them_ends(tmp_path):
    long = write_run(tmp_path / "a", [[1.0], [2.0], [3.0]], [1000, 2000, 3000])
    short = write_run(tmp_path / "b", [[7.0]], [1500], agent="a2c")
    found = compared(long, short).scores()
    assert found["ppo"].tolist() == [[1.0]] and found["a2c"].tolist() == [[7.0]]


def test_steps_that_were_rounded_up_are_those_that_were_asked_for(tmp_path):
    """PPO takes 2,048 steps where 2,000 are asked, DQN exactly 2,000: both are compared there."""
    rounded = write_run(tmp_path / "a", [[1.0], [2.0]], [1024, 2048], total_env_steps=2000)
    exact = write_run(tmp_path / "b", [[3.0], [4.0]], [1000, 2000], agent="dqn")
    found = compared(rounded, exact).scores()
    assert found["ppo"].tolist() == [[2.0]] and found["dqn"].tolist() == [[4.0]]


def test_a_method_without_an_evaluation_by_then_is_refused(tmp_path):
    long = write_run(tmp_path / "a", [[1.0], [2.0]], [5000, 10000])
    short = write_run(tmp_path / "b", [[7.0]], [1000], agent="a2c")
    with pytest.raises(UsageError, match="its first evaluation is at 5,000"):
        compared(long, short).scores()


@pytest.fixture
def pooled(tmp_path):
    """Two methods on two environments, three seeds each, evaluated at the same four steps."""
    return {
        (env, agent): write_run(
            tmp_path / env / agent, learning(4, 3, level, seed), env=env, agent=agent
        )
        for seed, (env, agent, level) in enumerate(
            [
                ("CartPole-v1", "ppo", 500),
                ("CartPole-v1", "a2c", 300),
                ("Acrobot-v1", "ppo", -80),
                ("Acrobot-v1", "a2c", -200),
            ]
        )
    }


def test_over_several_environments_scores_are_normalised_within_each(pooled):
    found = compared(*pooled.values())
    for column, groups in enumerate(found.environments.values()):
        everything = np.concatenate([group.returns.ravel() for group in groups])
        span = everything.max() - everything.min()
        for group in groups:
            expected = (group.returns - everything.min()) / span
            np.testing.assert_allclose(found.scores()[group.label][:, column], expected[-1])
            steps, curve = found.curves()[group.label]
            np.testing.assert_allclose(curve[:, :, column], expected)
            assert steps.tolist() == [1000, 2000, 3000, 4000]


def test_a_method_that_lacks_an_environment_is_refused_by_name(pooled):
    pooled.pop(("Acrobot-v1", "a2c"))
    with pytest.raises(UsageError, match="a2c has no run on Acrobot-v1"):
        compared(*pooled.values()).scores()


def test_other_numbers_of_seeds_are_refused(pooled, tmp_path):
    more = write_run(tmp_path / "more", learning(4, 1), env="Acrobot-v1", seed=3)
    with pytest.raises(UsageError, match="ppo has 3 on CartPole-v1, 4 on Acrobot-v1"):
        compared(*pooled.values(), more).scores()


def test_curves_without_common_steps_are_not_pooled(pooled, tmp_path):
    other = write_run(tmp_path / "other", learning(4, 3), [1, 2, 3, 4000], env="Pendulum-v1")
    runs = [pooled["CartPole-v1", "ppo"], other]
    with pytest.raises(UsageError, match="of which there is one"):
        compared(*runs).curves()
