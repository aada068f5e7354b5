import dataclasses
import json
import shutil
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import digest

import rljax
from rljax.errors import NonFiniteError, RunError, UsageError
from rljax.experiments import checkpoints, config, directory, experiment, hooks, metrics
from rljax.training.interrupts import Interrupts


def rows(run):
    """Rows of a run, without the clock's."""
    return [{k: v for k, v in r.items() if k != "charts/SPS"} for r in metrics.read(run.metrics)]


def final(run):
    return digest(rljax.load(run.path)[1])


def forget(run, after):
    """What a crash after iteration `after` would have left: no later checkpoint."""
    for step in run.checkpoints.iterdir():
        if step.name.isdigit() and int(step.name) > after:
            shutil.rmtree(step)


@pytest.mark.long
def test_a_run_directory_describes_itself(finished, tiny):
    assert finished.load_config() == tiny
    assert (finished.path / "command.txt").read_text() == "rljax train\n"
    system = json.loads((finished.path / "system.json").read_text())
    assert system["packages"]["jax"] == jax.__version__
    assert [row["iteration"] for row in rows(finished)] == list(range(1, 13))
    assert [row["env_steps"] for row in rows(finished)] == [32 * i for i in range(1, 13)]
    evaluated = [r["iteration"] for r in rows(finished) if "evaluation/return_mean" in r]
    assert evaluated == [4, 8, 12]
    summary = json.loads(finished.evaluation.read_text())
    assert np.shape(summary["returns"]) == (2, 4) and len(summary["seeds"]) == 2


def test_load_gives_the_agent_and_the_state_that_trained(finished):
    population, states = rljax.load(finished.path)
    assert states.iteration.tolist() == [12, 12]
    result = rljax.evaluate(population, states, jax.random.key(0), num_episodes=3)
    assert result.returns.shape == (2, 3)


@pytest.mark.long
def test_a_seed_of_a_population_is_the_run_that_it_would_be_alone(finished, tmp_path):
    flat = {k: v for k, v in finished.load_config().values().items() if v is not None}
    flat = {k: list(v) if isinstance(v, tuple) else v for k, v in flat.items()}
    alone = config.resolve({**flat, "seed": 1, "num_seeds": 1}, {})
    outcome = experiment.start(alone, tmp_path / "alone")
    kernel = jax.tree.leaves(outcome.state.learner.params)[0]
    together = jax.tree.leaves(rljax.load(finished.path)[1].learner.params)[0]
    np.testing.assert_allclose(kernel, together[1], atol=1e-5)


@pytest.mark.parametrize("left_at", [pytest.param(0, marks=pytest.mark.long), 9])
def test_resumed_is_bit_for_bit_what_it_would_have_been(copy, finished, left_at):
    forget(copy, left_at)
    with copy.metrics.open("a") as file:
        file.write('{"iteration": 13, "env_st')  # cut short by the crash
    said = []
    outcome = experiment.resume(copy.path, report=said.append)
    assert final(copy) == final(finished)
    assert rows(copy) == rows(finished)
    assert f"at iteration {left_at}; {12 - left_at} of 12" in said[-1]
    assert int(outcome.state.iteration[0]) == 12


def test_resuming_a_complete_run_does_nothing_and_says_so(copy, finished):
    said = []
    experiment.resume(copy.path, report=said.append)
    assert said == [f"{copy.path} is complete: 12 of 12 iterations are done"]
    assert rows(copy) == rows(finished)


REMEMBERING = {
    "env": "CartPole-v1",
    "agent": "dqn",
    "num_seeds": 2,
    "total_env_steps": 8 + 8 * 12,
    "structure.num_envs": 4,
    "structure.rollout_length": 2,
    "structure.hidden": [8],
    "structure.buffer_size": 32,
    "structure.batch_size": 4,
    "structure.updates_per_iteration": 2,
    "structure.warmup_env_steps": 8,
    "structure.prioritized": True,
    "evaluation.episodes": 4,
    "evaluation.interval_env_steps": 8 * 12,
    "checkpoint.interval_env_steps": 8 * 3,
    "logging.interval_env_steps": 8,
}


@pytest.mark.long
def test_resuming_brings_back_the_replay_its_cursor_and_its_priorities(tmp_path):
    whole = experiment.start(config.resolve(REMEMBERING, {}), tmp_path / "whole").run
    copy = type(whole)(tmp_path / "copy")
    shutil.copytree(whole.path, copy.path)
    forget(copy, 8)
    outcome = experiment.resume(copy.path)
    assert final(copy) == final(whole)
    assert rows(copy) == rows(whole)
    assert [row["env_steps"] for row in rows(whole)] == [8 + 8 * i for i in range(1, 13)]
    replay = outcome.state.worker.replay
    assert len(np.unique(replay.priorities.forest)) > 10 and (replay.size == 8).all()
    assert any("replay/priorities/forest" in path for path in digest(outcome.state))


LEAVES = (
    "key",
    "hparams/lr",
    "learner/params/params/value/kernel",
    "learner/update_state/1/inner_state/1/0/mu/params/value/kernel",
    "learner/update_state/1/inner_state/1/0/nu/params/value/kernel",
    "learner/update_state/1/inner_state/1/0/count",
    "worker/env_state/theta",
    "worker/obs",
    "worker/episode_return",
)


FEW_LEAVES = ("key", LEAVES[3], "worker/env_state/theta")


@pytest.fixture(scope="module")
def midway(finished, tiny):
    """The state after iteration 9, a fresh one, and what three more iterations make of either."""
    agent = experiment.build(tiny)
    saved = checkpoints.Checkpoints(finished.checkpoints, read_only=True)
    state = saved.restore(experiment.template(tiny, agent), 9)
    saved.close()
    step = jax.jit(agent.step)

    def finish(state):
        returns = []
        for _ in range(3):
            state, reported = step(state)
            returns.append(reported["charts/episodic_return"].tolist())
        return digest(state), str(returns)

    return state, jax.jit(agent.init)(experiment.keys(tiny)), finish, finish(state)


@pytest.mark.long
@pytest.mark.parametrize(
    "path",
    [p if p in FEW_LEAVES else pytest.param(p, marks=pytest.mark.slow) for p in LEAVES],
)
def test_without_any_one_leaf_the_run_would_end_elsewhere(midway, path):
    state, fresh, finish, ended = midway
    assert path in digest(state), sorted(digest(state))

    def drop(where, leaf, new):
        if jax.tree_util.keystr(where, simple=True, separator="/") != path:
            return leaf
        return 2 * new if path.startswith("hparams") else new

    assert finish(jax.tree_util.tree_map_with_path(drop, state, fresh)) != ended


@pytest.mark.long
def test_a_longer_run_is_a_change_that_resume_takes_and_shows(copy):
    said = []
    outcome = experiment.resume(copy.path, {"total_env_steps": str(32 * 14)}, report=said.append)
    assert "total_env_steps: 384 is now 448" in said
    assert int(outcome.state.iteration[0]) == 14
    assert copy.load_config().top.total_env_steps == 448


@pytest.mark.long
def test_a_longer_run_keeps_its_schedules_unless_told_otherwise(copy):
    """The learning rate ends at 0 after 384 steps, so that nothing is learnt from there on."""
    said = []
    before = digest(experiment.load(copy.path)[1].learner.params)
    outcome = experiment.resume(copy.path, {"total_env_steps": str(32 * 14)}, report=said.append)
    assert any("schedules stay those of 384 environment steps" in line for line in said)
    assert copy.load_config().top.schedule_env_steps == 384
    assert digest(outcome.state.learner.params) == before
    # Said again by a config that names none, as `train --resume auto` does: nothing changes.
    resumed = copy.load_config()
    top = dataclasses.replace(resumed.top, schedule_env_steps=0)
    experiment.resume(copy.path, config=dataclasses.replace(resumed, top=top))
    assert copy.load_config().top.schedule_env_steps == 384

    flags = {"total_env_steps": str(32 * 15), "schedule_env_steps": str(32 * 15)}
    outcome = experiment.resume(copy.path, flags, report=said.append)
    assert "schedule_env_steps: 384 is now 480" in said
    assert digest(outcome.state.learner.params) != before


def test_a_change_that_would_make_it_another_run_is_refused_by_name(copy):
    with pytest.raises(UsageError, match=r"cannot change structure\.num_envs \(from 4 to 8\)"):
        experiment.resume(copy.path, {"structure.num_envs": "8"})


def largest_file(folder):
    return max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def test_a_checkpoint_of_another_version_is_refused_by_what_differs(copy, tiny):
    agent = experiment.build(tiny)
    like = experiment.template(tiny, agent)
    older = dataclasses.replace(
        like, learner=dataclasses.replace(like.learner, params={"table": like.iteration})
    )
    saved = checkpoints.Checkpoints(copy.checkpoints, read_only=True)
    with pytest.raises(
        RunError, match=r"of another version .*: it has no .*table and it has .*MLP"
    ):
        saved.restore(older, 12)
    saved.close()


@pytest.mark.parametrize(
    "harm",
    ["flip", *(pytest.param(x, marks=pytest.mark.long) for x in ("truncate", "remove"))],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(copy, finished, harm):
    newest = copy.checkpoints / "12"
    victim = largest_file(newest / "state")
    data = bytearray(victim.read_bytes())
    if harm == "truncate":
        victim.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(data)
    else:
        victim.unlink()
    said = []
    experiment.resume(copy.path, report=said.append)
    assert str(newest) in said[0] and "falling back" in said[0] and "\n" not in said[0]
    assert rows(copy) == rows(finished)


@pytest.mark.slow
def test_no_flipped_bit_in_any_file_goes_unnoticed(copy, finished, tiny):
    like = experiment.template(tiny, experiment.build(tiny))
    store = checkpoints.Checkpoints(copy.checkpoints, read_only=True)
    noticed = 0
    for file in sorted(f for f in (copy.checkpoints / "12").rglob("*") if f.stat().st_size):
        if file.is_file():
            whole = file.read_bytes()
            flipped = bytearray(whole)
            flipped[len(whole) // 2] ^= 1
            file.write_bytes(flipped)
            try:
                assert digest(store.restore(like, 12)) == final(finished), file
            except RunError:
                noticed += 1
            file.write_bytes(whole)
    store.close()
    assert noticed


@pytest.mark.parametrize(
    "left", [b'{"sco', *(pytest.param(b, marks=pytest.mark.slow) for b in (b"", b'{"\xff": 1.0}'))]
)
@pytest.mark.long
def test_a_damaged_score_is_named_and_the_state_beside_it_used(copy, finished, tiny, left):
    like = experiment.template(tiny, experiment.build(tiny))
    store = checkpoints.Checkpoints(copy.checkpoints)
    state = store.restore(like, 12)
    store.save(dataclasses.replace(state, iteration=state.iteration + 1), score=1.0)
    store.close()
    score = copy.checkpoints / "13" / "metrics" / "metrics"
    score.write_bytes(left)
    assert int(rljax.load(copy.path)[1].iteration[0]) == 13
    said = []
    experiment.resume(copy.path, {"total_env_steps": str(32 * 14)}, report=said.append)
    assert [s for s in said if s.startswith(f"warning: {score} is damaged")]
    again = checkpoints.Checkpoints(copy.checkpoints)
    assert not again.lost and 14 in again.iterations()
    again.close()


def test_with_no_checkpoint_that_can_be_read_it_stops(copy):
    for step in copy.checkpoints.iterdir():
        largest_file(step / "state").unlink()
    with pytest.raises(RunError, match="damaged"):
        experiment.resume(copy.path)
    with pytest.raises(RunError, match="damaged"):
        rljax.load(copy.path)


@pytest.mark.long
def test_what_a_kill_inside_a_save_leaves_is_ignored_and_cleared(copy, finished):
    shutil.copytree(copy.checkpoints / "12", copy.checkpoints / "7.orbax-checkpoint-tmp")
    forget(copy, 9)
    experiment.resume(copy.path)
    assert not list(copy.checkpoints.glob("*tmp*"))
    assert final(copy) == final(finished)


def test_the_latest_and_the_best_are_kept(tmp_path, tiny):
    state = jax.jit(experiment.build(tiny).init)(experiment.keys(tiny))
    store = checkpoints.Checkpoints(tmp_path / "c", keep=2)
    for iteration, score in enumerate([1.0, 5.0, 2.0, None, 3.0]):
        store.save(state.replace(iteration=state.iteration + iteration), score)
    store.close()
    store = checkpoints.Checkpoints(tmp_path / "c", keep=2)
    store.save(state.replace(iteration=state.iteration + 5), 4.0)
    assert store.iterations() == [1, 4, 5]


def test_arrays_without_an_element_are_kept(tmp_path, tiny):
    state = jax.jit(experiment.build(tiny).init)(experiment.keys(tiny))
    empty = {"none": jnp.zeros((4, 0), jnp.int32), "some": jnp.arange(3.0)}
    state = state.replace(worker=state.worker.replace(carry=empty))
    store = checkpoints.Checkpoints(tmp_path / "c")
    store.save(state)
    found = store.restore(jax.eval_shape(lambda: state), int(state.iteration.max()))
    store.close()
    chex.assert_trees_all_equal_shapes_and_dtypes(found, state)
    np.testing.assert_array_equal(found.worker.carry["some"], empty["some"])


def test_the_score_of_a_checkpoint_is_the_mean_over_seeds_of_their_mean_returns(tiny):
    saved, agent = [], experiment.build(tiny)
    store = SimpleNamespace(save=lambda state, score: saved.append(score))
    hook = hooks.saving(tiny, agent, store, Interrupts(), 0)
    for steps, more in ((32, {}), (96, {}), (192, {metrics.EVALUATED: [0.0, 1.0, 1.0, 1.0]})):
        hook(None, {"env_steps": steps, **more})
    assert saved == [None, 0.75]


def test_a_directory_that_exists_is_not_touched(tmp_path, tiny):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(RunError, match="exists already"):
        experiment.start(tiny, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["precious"]


def test_nothing_is_created_for_a_config_that_does_not_fit(tmp_path, tiny):
    flat = {k: v for k, v in tiny.values().items() if v is not None}
    flat = {k: list(v) if isinstance(v, tuple) else v for k, v in flat.items()}
    uneven = config.resolve({**flat, "structure.num_minibatches": 5}, {})
    with pytest.raises(UsageError, match="num_minibatches"):
        experiment.start(uneven, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is not a run: it has no config.toml"),
        (lambda p: (p.mkdir(), (p / "config.toml").write_text("env = ")), "damaged config.toml"),
    ],
)
def test_what_is_not_a_run_is_said(tmp_path, prepare, said):
    prepare(tmp_path / "run")
    with pytest.raises(RunError, match=said):
        experiment.resume(tmp_path / "run")
    with pytest.raises(RunError, match=said):
        rljax.load(tmp_path / "run")


def test_a_damaged_metrics_file_is_named_with_its_line(copy):
    lines = copy.metrics.read_text().splitlines()
    copy.metrics.write_text("\n".join([lines[0], "{oops", *lines[2:]]) + "\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged in line 2"):
        metrics.read(copy.metrics)


def test_training_that_meets_a_nan_keeps_the_last_finite_checkpoint(tmp_path, tiny):
    def poison(agent, run):
        """Blow up the step size after iteration 5, as a bad schedule would."""
        step = agent.step

        def poisoned(state):
            state, reported = step(state)
            bad = (state.iteration >= 5)[:, None]
            kernel = state.learner.params["params"]["value"]["bias"]
            params = jax.tree.map(lambda x: x, state.learner.params)
            params["params"]["value"]["bias"] = jax.numpy.where(bad, np.nan, kernel)
            return state.replace(learner=state.learner.replace(params=params)), reported

        return agent._replace(step=poisoned)

    agent = poison(experiment.build(tiny), None)
    run = directory.create(tmp_path / "run", tiny, [])
    with pytest.raises(NonFiniteError, match="params/value/bias"):
        experiment._train(tiny, agent, run, experiment.keys(tiny), lambda agent, run: ())
    assert [int(p.name) for p in run.checkpoints.iterdir()] == [3]
    assert [row["iteration"] for row in rows(run)] == [1, 2, 3, 4]
    assert np.isfinite(np.asarray(jax.tree.leaves(rljax.load(run.path)[1].learner.params)[0])).all()
