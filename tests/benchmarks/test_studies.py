"""The studies that train, with tiny numbers."""

import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import compiled_quickly

import rljax

CONFIG = """
    env = "CartPole-v1"
    agent = "ppo"
    total_env_steps = 1024
    [structure]
    num_envs = 8
    rollout_length = 32
    num_minibatches = 2
    hidden = [8]
"""


@pytest.mark.long
def test_trainings_one_after_another_are_timed(study, tmp_path, capsys):
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    with compiled_quickly():
        study("sweep_alone").main(str(path), [1e-3, 0.0, 1e-3])
    found = json.loads(capsys.readouterr().out)
    assert len(found["seconds"]) == len(found["returns"]) == 3 and min(found["seconds"]) > 0
    assert all(8 <= mean_return <= 500 for mean_return in found["returns"])


@pytest.mark.slow
def test_population_based_training_and_random_search_take_the_same_steps(study, monkeypatch):
    module = study("pbt")
    for name, value in {"MEMBERS": 4, "INTERVAL_ENV_STEPS": 2048, "EPISODES": 1}.items():
        monkeypatch.setattr(module, name, value)
    with compiled_quickly():
        [row] = module.compare(repeats=1, env_steps=8192, seed=0)
    steps = row["env_steps"]
    assert 0 <= steps["random"] - steps["pbt"] < 16 * 64  # an iteration
    assert steps["pbt"] > 8192  # Evaluations count.
    assert len(row["pbt_members"]) == len(row["random_members"]) == 4


def test_the_summary_of_repeats(study):
    rows = [{"pbt": pbt, "random": -300.0} for pbt in (-100.0, -200.0, -200.0, -400.0)]
    found = study("pbt").summary(rows)
    assert found["difference"] == 75.0 and found["difference_iqm"] == 100.0
    assert found["repeats_ahead"] == 3
    low, high = found["interval_95"]
    assert -100 <= low < 75 < high <= 200


@pytest.mark.slow
def test_a_server_is_measured(study, finished, capsys):
    [row] = study("serving").measure(str(finished.path), "rljax", 4, 0.5, 0.5)
    assert row["actions_per_second"] > 0 and row["p50_ms"] <= row["p99_ms"]
    assert row["server_cpu_us_per_action"] >= 0 and row["server_mib"] > 50
    assert json.loads(capsys.readouterr().out) == row


def test_both_sides_of_imagined_steps_find_the_way_out_of_the_maze(study):
    imagined_steps = study("imagined_steps")
    env = rljax.make("DynaMaze")
    q = imagined_steps.numpy_loop(env, planning_steps=20, steps=3000)
    run, arguments = imagined_steps.trained(1, 8, 20, 8000)
    for table in (q, np.asarray(run(*arguments))):
        assert imagined_steps.greedy_steps(env, table) == 14  # the shortest way
    assert imagined_steps.greedy_steps(env, np.zeros_like(q)) == 99


@pytest.mark.long
def test_a_replay_takes_what_its_transitions_take(study, capsys):
    study("replay_memory").main(["--rows", "640"], standalone_mode=False)
    size, *process = capsys.readouterr().out.splitlines()
    # 41 floats, and two flags of four bytes each; then where the ring stands.
    assert size.startswith(f"{43 * 4 * 640 + 64 * 8:,} bytes") and len(process) == 3


def test_what_takes_turns_is_compared_with_the_first(study, capsys):
    programs = {"slow": (time.sleep, (0.02,)), "fast": (time.sleep, (0.001,))}
    study("searching").in_turns(programs, [10, 100], 3, "naps/s")
    head, _, slow, fast = capsys.readouterr().out.splitlines()
    assert head == "| | naps/s | beside slow |"
    assert slow.endswith("| 1.00 |") and float(fast.split("|")[3]) > 10


@pytest.mark.long
def test_the_example_of_pgx_records_what_alphazero_learns_from(study):
    module = study("self_play")
    params = module.network().init(jax.random.key(7))
    sizes = {"num_envs": 2, "simulations": 2, "steps": 3}
    play, arguments = module.example(module.plain, params, **sizes)
    seen, weights, reward, terminated = jax.eval_shape(play, *arguments)
    assert seen.shape == (3, 2, 6, 7, 2) and weights.shape == (3, 2, 7)
    assert reward.shape == terminated.shape == (3, 2)
    # How long a search takes is up to the network: so all play with the same one.
    _, (state, _) = module.ours("ConnectFourGame", params, **sizes)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, state.learner.params, params))
    boards = jax.random.bernoulli(jax.random.key(8), shape=(5, 6, 7, 2))
    plainly, by_layers = module.plain(params, boards), module.of_rljax(params, boards)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), plainly, by_layers)


@pytest.mark.long
def test_an_exported_policy_is_timed(study, monkeypatch):
    module = study("exported_latency")
    monkeypatch.setattr(module, "ROUNDS", 2)
    row = module.measure((3,), [1, 2], ["-O0", "-O2"])
    runtimes = {
        f"{name}, {batch}" for name in ("jitted", "onnxruntime", "bound") for batch in (1, 2)
    }
    assert {*row} == runtimes | {"hidden", "cc -O0", "cc -O2"}
    assert all(row[name] > 0 for name in runtimes) and row["cc -O2"] < row["jitted, 1"]


@pytest.mark.slow
def test_in_cross_play_each_team_acts_as_who_trained_it(study, capsys):
    module = study("cross_play")
    agent = rljax.maddpg(rljax.make("SimpleTag-MPE"), num_envs=2, hidden=(4,), warmup_env_steps=50)
    population = rljax.vmap(agent)
    with compiled_quickly():
        init = jax.jit(population.init)
        one, other = (init(jax.random.split(jax.random.key(seed), 2)) for seed in range(2))
    mixed = module.mixed(population, one, other).learner.params["actor"]
    for actor, a, b in zip(
        *map(jax.tree.leaves, (mixed, one.learner.params["actor"], other.learner.params["actor"])),
        strict=True,
    ):
        assert (actor[:, :3] == a[:, :3]).all() and (actor[:, 3] == b[:, 3]).all()
    tiny = ["--env-steps", "11000", "--num-seeds", "2", "--episodes", "2"]
    with compiled_quickly():
        module.main(tiny, standalone_mode=False)
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [
        [first, second] for first in module.LEARNERS for second in module.LEARNERS
    ]
