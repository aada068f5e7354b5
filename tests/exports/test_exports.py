import ctypes
import hashlib
import importlib.util
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import policies
import pytest
from flax import linen as nn
from policies import OF_ROLLOUTS, drawn, fresh
from running import COMPILER, RUN, compiled

import rljax
from rljax import networks
from rljax.cli import main
from rljax.errors import UsageError
from rljax.experiments import experiment
from rljax.exports import c_kernels
from rljax.exports.interface import interface

STEPS, ROWS = 50, 20  # 1,000 observations
AGENTS = {**policies.AGENTS, "others": lambda: on_cart_pole(scaled)}

QUICK = ("normal", "gru", "table")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in AGENTS]


@pytest.mark.parametrize("name", NAMES)
def test_all_exports_act_as_the_agent(name, tmp_path):
    agent = AGENTS[name]()
    state, random = fresh(agent), np.random.default_rng(0)
    policy = interface(agent, state)
    by_agent = jax.jit(policy.function)
    runs = {}
    for to in RUN:
        rljax.export(agent, state, to, tmp_path / f"policy.{to}")
        runs[to] = RUN[to](tmp_path / f"policy.{to}", policy)
    carry = [np.asarray(x) for x in jax.tree.leaves(agent.initial_carry((ROWS,)))]
    carries = dict.fromkeys(RUN, carry)
    taken = []
    for _ in range(STEPS):
        seen = [drawn(random, each, ROWS) for each in policy.inputs[: -len(carry) or None]]
        if name == "mask":
            seen[1][:, 0] |= ~seen[1].any(1)
        expected, *carry = by_agent(*seen, *carry)
        taken.append(expected)
        for to, run in runs.items():
            action, *carries[to] = run(*seen, *carries[to])
            np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-5, err_msg=to)
    assert len(np.unique(np.concatenate(taken), axis=0)) > 1


def with_weights(agent, change):
    """A state whose weights are what `change` makes of them, leaf by leaf."""
    state = fresh(agent)
    params = jax.tree.map(
        lambda x: change(np.asarray(x)) if np.ndim(x) > 1 else x, state.learner.params
    )
    return state.replace(learner=state.learner.replace(params=params))


def check_actions(to, agent, state, path):
    policy = interface(agent, state)
    rljax.export(agent, state, to, path)
    obs = drawn(np.random.default_rng(0), policy.inputs[0], 1000)
    expected = policy.function(obs)[0]
    np.testing.assert_allclose(RUN[to](path, policy)(obs)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [8, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("to", sorted({"c", "onnx"} & set(RUN)))
def test_weights_of_few_bits_are_int8_in_a_file(to, bits, tmp_path):
    agent = AGENTS["normal"]()
    state = with_weights(agent, lambda x: np.asarray(networks.quantized_weights(x, bits)))
    check_actions(to, agent, state, tmp_path / f"policy.{to}")
    if to == "c":
        assert (tmp_path / "policy.c").read_text().count("static const signed char") == 2
        return
    import onnx

    initializers = onnx.load(tmp_path / "policy.onnx").graph.initializer
    assert sum(each.data_type == onnx.TensorProto.INT8 for each in initializers) == 2


@pytest.mark.skipif(not COMPILER, reason="there is no C compiler")
@pytest.mark.parametrize(("outputs", "kind"), [(40, b"char"), (300, b"short")])
@pytest.mark.parametrize("bits", [None, 8])
def test_zeros_are_left_out_of_a_c_file(bits, outputs, kind, tmp_path):
    agent = rljax.ppo(rljax.make("CartPole-v1"), **{**OF_ROLLOUTS, "hidden": (outputs,)})
    random = np.random.default_rng(0)

    def change(x):
        kept = np.where(random.random(x.shape) < 0.1, x, 0)
        return np.asarray(networks.quantized_weights(kept, bits)) if bits else kept

    state = with_weights(agent, change)
    check_actions("c", agent, state, tmp_path / "policy.c")
    sparse = (tmp_path / "policy.c").read_bytes()
    assert b"static const unsigned " + kind in sparse
    rljax.export(agent, with_weights(agent, lambda x: x + 1), "c", tmp_path / "full.c")
    assert len(sparse) < len((tmp_path / "full.c").read_bytes())


def test_a_float_is_written_in_few_characters_that_bring_it_back():
    random = np.random.default_rng(0)
    numbers = np.concatenate([random.normal(size=2000), 10 ** random.uniform(-38, 38, 2000)])
    for number in [*numbers.astype(np.float32), np.float32(0), np.float32(-3)]:
        text = c_kernels.number(number)
        assert np.float32(float(text.removesuffix("f"))) == number and len(text) <= 16
    assert [c_kernels.number(x) for x in (0.5, -0.25, 1e-7, 0, 2)] == [
        ".5",
        "-.25",
        "1e-7",
        "0",
        "2",
    ]


@pytest.mark.long
def test_a_c_file_plays_as_well_as_the_agent(finished, tmp_path):
    agent, state = rljax.load(finished.path)
    agent, state = experiment.member(agent, finished.load_config(), state, 1)
    rljax.export(agent, state, "c", tmp_path / "policy.c")
    act = compiled(tmp_path / "policy.c")
    env, step = agent.env, jax.jit(agent.env.step)
    lengths = []
    for seed in range(4):
        env_state, obs = env.reset(jax.random.key(seed))
        ended, length = False, 0
        while not ended:
            code, action, _ = act(np.asarray(obs), None, 1)
            assert code == 0
            assert action[0] == agent.act(state, obs[None], (), None)[0][0]
            env_state, obs, _, terminated, truncated = step(
                jax.random.key(0), env_state, jnp.int32(action[0])
            )
            ended, length = bool(terminated | truncated), length + 1
        lengths.append(length)
    assert min(lengths) >= 8


@pytest.mark.skipif(not COMPILER, reason="there is no C compiler")
def test_c_code_refuses_what_is_not_finite_and_begins_with_a_carry(tmp_path):
    agent = AGENTS["gru"]()
    rljax.export(agent, fresh(agent), "c", tmp_path / "policy.c")
    act, carry = compiled(tmp_path / "policy.c"), np.ones(8, np.float32)
    act.library.policy_begin(carry.ctypes.data_as(ctypes.c_void_p))
    assert (carry == 0).all()
    assert act(np.zeros(4), carry, 1)[0] == 0
    assert act(np.zeros(4), None, 1)[0] == 1
    assert act(np.array([0, np.nan, 0, 0]), carry, 1)[0] == 1


@pytest.mark.long
def test_the_command_exports_a_member_with_its_card(finished, tmp_path, capsys):
    out = tmp_path / "policy.c"
    assert (
        main(["export", str(finished.path), "--to", "c", "--out", str(out), "--member", "1"]) == 0
    )
    assert f"{out}.json" in capsys.readouterr().out
    card = json.loads((tmp_path / "policy.c.json").read_text())
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (card["agent"], card["environment"], card["seed"]) == ("ppo", "CartPole-v1", 1)
    evaluation = json.loads(finished.evaluation.read_text())
    assert card["returns"]["mean"] == evaluation["seeds"][1]["mean"]
    assert card["env_steps"] == 32 * 12 and card["inputs"][0]["shape"] == ["B", 4]
    other = tmp_path / "other.c"
    assert main(["export", str(finished.path), "--to", "c", "--out", str(other)]) == 0
    hashes = json.loads((tmp_path / "other.c.json").read_text())["parameters"]["sha256"]
    assert hashes != card["parameters"]["sha256"]
    assert main(["export", str(finished.path), "--to", "tflite", "--out", "a.tflite"]) == 2
    assert main(["export", str(tmp_path), "--to", "c", "--out", str(other)]) == 1


def refusal(*arguments) -> str:
    with pytest.raises(UsageError) as caught:
        rljax.export(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_exported_is_refused_in_a_sentence(tmp_path, monkeypatch):
    agent = on_cart_pole(lambda x: x)
    state = fresh(agent)
    assert "TensorFlow" in refusal(agent, state, "tflite", tmp_path / "policy.tflite")
    assert "did you mean 'onnx'" in refusal(agent, state, "onx", tmp_path / "policy.onnx")
    assert ".onnx file" in refusal(agent, state, "onnx", tmp_path / "policy.c")
    population = rljax.vmap(agent)
    assert "one member" in refusal(population, state, "c", tmp_path / "policy.c")
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "rljax-core[export]" in refusal(agent, state, "onnx", tmp_path / "policy.onnx")


@pytest.mark.parametrize("to", ["c", "onnx"])
def test_an_operation_that_is_not_known_is_named_with_its_layer(to, tmp_path):
    agent = on_cart_pole(lambda x: jax.lax.sort(x, dimension=-1))
    message = refusal(agent, fresh(agent), to, tmp_path / f"policy.{to}")
    assert "'sort' of torso" in message and not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_network_for_batches_of_one_size_is_told_so(tmp_path):
    agent = on_cart_pole(lambda x: x.reshape(len(x), 4))
    for to in ("onnx", "stablehlo"):
        message = refusal(agent, fresh(agent), to, tmp_path / f"policy.{to}")
        assert "x.shape[0]" in message
    rljax.export(agent, fresh(agent), "c", tmp_path / "policy.c")


def on_cart_pole(function):
    """An agent whose policy and value are made by a function of observations [N, 4]."""

    def init(key):
        return {"w": jnp.ones((4, 2))}

    def apply(params, obs, carry, key):
        with jax.named_scope("torso"):
            features = function(obs.reshape(-1, 4)).reshape(*obs.shape[:-1], 4)
        return (features @ params["w"], features.sum(-1)), carry

    return rljax.ppo(rljax.make("CartPole-v1"), network=(init, apply), **OF_ROLLOUTS)


def scaled(x):
    """Operations that the networks of rljax do not have, but those of others may."""
    image = jnp.pad(x, ((0, 0), (1, 1)))[..., None] * jnp.arange(3.0)
    kernel = jnp.linspace(-1, 1, 2 * 3 * 4).reshape(2, 3, 4)
    dimensions = ("NWC", "WIO", "NWC")
    y = jax.lax.conv_general_dilated(image, kernel, (2,), [(1, 0)], dimension_numbers=dimensions)
    y = jnp.einsum("nwc,ncv->nwv", y, y.swapaxes(1, 2)).transpose(0, 2, 1)
    y = jax.nn.gelu(
        nn.LayerNorm(use_bias=False, use_scale=False).apply({}, y.reshape(x.shape[0], -1))
    )
    y = jnp.where(y > 0.1, jax.nn.softplus(y), jax.nn.elu(y)) + jax.nn.silu(y) ** 3
    y = y / (1 + jnp.abs(y).max(-1, keepdims=True)) - jax.nn.log_softmax(y)
    y = jnp.concatenate([y[:, 2:], jnp.sqrt(jnp.abs(y[:, :2]))], axis=-1)
    few = jnp.any(y > 1.5, axis=-1) & ~jnp.all(y > 0, axis=-1) | (x[:, 0] != x[:, 1])
    return (
        jnp.clip(y[:, :4] - y.mean(-1, keepdims=True) + y[:, 4:].prod(-1, keepdims=True), -1, 0.9)
        + few[:, None] * x
    )
