"""What the cost model says of all-reduces is what XLA compiles; its seconds are the formulae's."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pages
import pytest
from compiling import WITHOUT_FUSION_EMITTERS

from rljax.experiments import config

SCRIPT = pages.ROOT / "benchmarks/studies/cost_model.py"
DEVICES = (1, 2, 4, 8)
GRADIENT_STEPS = {"ppo": 2 * 3, "dqn": 3}  # in an iteration
# What their losses report beside the gradients, a float32 each: those of PPO and its policy's
# entropy, approx_kl and clipfrac; those of DQN and the mean of its values.
LOSS_METRICS = {"ppo": 5, "dqn": 2}

CONFIGS = {
    "ppo": """
        env = "CartPole-v1"
        agent = "ppo"
        total_env_steps = 1000
        [structure]
        num_envs = 24
        rollout_length = 4
        num_epochs = 2
        num_minibatches = 3
        hidden = [16, 8]
    """,
    "dqn": """
        env = "CartPole-v1"
        agent = "dqn"
        total_env_steps = 1000
        [structure]
        num_envs = 8
        batch_size = 16
        updates_per_iteration = 3
        warmup_env_steps = 16
        buffer_size = 64
        hidden = [16, 8]
    """,
}


@pytest.fixture
def model(study):
    return study("cost_model")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, text in CONFIGS.items():
        (folder / f"{name}.toml").write_text(text)
    return {name: str(folder / f"{name}.toml") for name in CONFIGS}


@pytest.fixture(scope="module")
def found(paths):
    """What the script prints, in a process of its own: this one has a single device."""
    counts = [word for devices in (*DEVICES, 512) for word in ("-d", str(devices))]
    words = [sys.executable, SCRIPT, *paths.values(), *counts, "--compiled", "--json"]
    flags = {"XLA_FLAGS": WITHOUT_FUSION_EMITTERS}  # Fusions are none of the matter here.
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=500, env={**os.environ, **flags}
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(paths, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.long
def test_a_gradient_step_is_one_all_reduce_of_parameters_and_metrics(name, paths, found):
    agent = config.load(paths[name]).agent()
    params = jax.eval_shape(agent.init, jax.random.key(0)).learner.params
    learnt = params.get("online", params)  # A target network has no gradient.
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(learnt))
    expected = [1, GRADIENT_STEPS[name], size + 4 * LOSS_METRICS[name]]
    assert [p["devices"] for p in found[name]["programs"]] == list(DEVICES)
    for program in found[name]["programs"]:
        in_loops = [each for each in program["compiled"] if each[0]]
        assert in_loops == ([] if program["devices"] == 1 else [expected])
    assert [found[name]["gradient_steps"], found[name]["step_bytes"]] == expected[1:]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.long
def test_an_iteration_all_reduces_the_bytes_that_the_model_says(name, found, model):
    for program in found[name]["programs"]:
        asked_for, compiled = (
            [model.AllReduce(*each) for each in program[how]] for how in ("asked_for", "compiled")
        )
        assert model.total_bytes(compiled) == model.total_bytes(asked_for)
        assert len(compiled) <= len(asked_for)  # XLA may combine more of them.
        if program["devices"] == 1:
            assert not compiled
        else:
            steps = found[name]["gradient_steps"] * found[name]["step_bytes"]
            assert model.total_bytes(compiled) == steps + found[name]["other_bytes"]


@pytest.mark.long
def test_products_are_counted_as_by_hand(found):
    samples, inputs = 24 * 4, 4 * 16
    actor, critic = inputs + 16 * 8 + 8 * 2, inputs + 16 * 8 + 8 * 1  # weights
    # What a step led to is valued as what the next one saw, but for the last of 24.
    rollout, values = 2 * samples * actor, 2 * samples * critic * (1 + 1 / 24)
    # Forwards, gradients of the weights, and those of the inputs but for the observations.
    gradients = 2 * samples * (3 * (actor + critic) - 2 * inputs)
    epochs = 2
    # XLA makes sums of a few products with vectors.
    assert found["ppo"]["flops"] == pytest.approx(rollout + values + epochs * gradients, rel=0.05)


@pytest.mark.long
def test_counts_that_do_not_divide_are_left_out(found):
    assert [row["strong"] is None for row in found["ppo"]["rows"]] == [*[False] * 4, True]
    last = found["ppo"]["rows"][-1]
    assert (last["devices"], last["weak"]["batch"]) == (512, 512 * 24 * 4 // 3)


def test_loops_count_as_often_as_they_run(model):
    def body(carry, _):
        return jnp.einsum("bmk,bkn->bmn", carry, carry), None

    def nested(carry, _):
        return jax.lax.scan(body, carry, length=5)[0], None

    trace = jax.jit(lambda x: jax.lax.scan(nested, x, length=3)[0]).trace(jnp.ones((2, 8, 8)))
    counted = model.counted(model.compiled_text(trace))
    assert counted == model.Program(3 * 5 * 2 * 2 * 8**3, [])


def test_what_is_no_all_reduce_is_refused(model):
    text = "\n".join(
        ["ENTRY %main (a: f32[4]) -> f32[8] {", "  ROOT %g = f32[8]{0} all-gather(%a)", "}"]
    )
    with pytest.raises(ValueError, match="all-gather"):
        model.counted(text)


def test_seconds_are_those_of_the_formulae(model):
    ring = model.Level(float("inf"), bandwidth=1e9, latency=1e-6, switched=False)
    assert model.level_seconds(8e6, 4, ring) == pytest.approx(2 * 3 / 4 * 8e-3 + 6e-6)
    switch = ring._replace(switched=True)
    assert model.level_seconds(8e6, 64, switch) == pytest.approx(2 * 63 / 64 * 8e-3 + 12e-6)
    assert model.level_seconds(8e6, 1, ring) == model.level_seconds(8e6, 1, switch) == 0

    nodes = model.Level(float("inf"), bandwidth=1e8, latency=1e-5, switched=True)
    machine = model.Hardware(1e12, 1e-4, (ring._replace(devices=8), nodes))
    inside = model.level_seconds(8e6, 8, ring)
    assert model.all_reduce_seconds(8e6, 1, machine) == 0
    assert model.all_reduce_seconds(8e6, 8, machine) == pytest.approx(1e-4 + inside)
    between = model.level_seconds(8e6 / 8, 4, nodes)
    assert model.all_reduce_seconds(8e6, 32, machine) == pytest.approx(1e-4 + inside + between)


@pytest.mark.long
def test_efficiency_is_one_devices_time_over_that_of_all(found):
    for config_found in found.values():
        first = config_found["rows"][0]
        assert first["communication_s"] == 0
        alone = first["strong"]["compute_s"]
        assert first["strong"]["efficiency"] == first["weak"]["efficiency"] == 1
        for row in config_found["rows"]:
            devices, waiting = row["devices"], row["communication_s"]
            weak = alone / (alone + waiting)
            assert row["weak"]["efficiency"] == pytest.approx(weak)
            if row["strong"]:
                strong = alone / devices / (alone / devices + waiting)
                assert row["strong"]["efficiency"] == pytest.approx(strong)
