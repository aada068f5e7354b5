"""What every agent keeps when it is spread over devices; the rows are those of the contracts."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import WITH_FUSION_EMITTERS
from jax.sharding import AxisType, PartitionSpec
from states import arrays, different_leaves, jit
from test_contracts import AGENTS

import rljax
from rljax import collectives
from rljax.agents import (
    a2c,
    alphazero,
    dqn,
    muzero,
    off_policy_actor_critic,
    policy_gradient,
    ppo,
    pqn,
    tabular,
)
from rljax.types import Update

N = 8
MODULES = (
    a2c,
    alphazero,
    dqn,
    muzero,
    off_policy_actor_critic,
    policy_gradient,
    ppo,
    pqn,
    tabular,
)
"""Where agents are put together."""
DRAWS_FOR_EACH_STEP = {
    "ppo tanh_normal",
    "dqn iqn dueling",
    "mbpo",
    "sarsa",
    "double_q_learning",
}
"""Rows whose updates draw a number for each step: other numbers where a device has fewer steps."""

QUICK = ("q_learning",)
"""Rows that always run."""
LONG = (
    "dqn",
    "ppo",
    "sac",
)


def rows(names) -> list:
    def marked(name: str):
        return pytest.param(name, marks=pytest.mark.long if name in LONG else pytest.mark.slow)

    return [name if name in QUICK else marked(name) for name in names]


def test_no_agent_s_file_knows_of_devices():
    files = {path.name: path for path in Path(rljax.agents.__file__).parent.glob("*.py")}
    assert "collectives." in files.pop("assembly.py").read_text()  # where they are all put together
    for name, path in files.items():
        assert not re.search("device|pmean|psum|axis_name|mesh", path.read_text()), name


def make(name: str, **options):
    row = AGENTS[name]
    if "num_minibatches" in row.make.keywords:
        options["num_minibatches"] = 1  # several would have other rows on each device
    return row.make(num_envs=N, **options)


def by_gradient_descent(name: str, monkeypatch):
    """A batch [T, N] that a row's update is given, and what the update makes of one.

    By plain descent: Adam would hide factors.
    """
    updates, batches = [], []

    def capturing(assemble):
        def captured(env, *, update, **others):
            updates.append(update)

            def seen(hparams, progress):
                inner = update(hparams, progress)

                def apply(params, state, batch, key):
                    jax.debug.callback(batches.append, batch)
                    return inner.apply(params, state, batch, key)

                return Update(inner.init, apply)

            return assemble(env, update=seen, **others)

        return captured

    def descent(lr, **options):
        return optax.sgd(0.1)

    for module in MODULES:
        for assemble in ("on_policy", "off_policy"):
            if hasattr(module, assemble):
                monkeypatch.setattr(module, assemble, capturing(getattr(module, assemble)))
    monkeypatch.setattr(optax, "adam", descent)
    monkeypatch.setattr(optax, "adamw", descent)
    monkeypatch.setattr(optax, "radam", descent)
    monkeypatch.setattr(optax, "rmsprop", descent)
    agent = make(name)
    learner = jit(lambda key: agent.init(key).learner)(jax.random.key(0))
    jit(lambda key: agent.step(agent.init(key))[1])(jax.random.key(0))
    jax.effects_barrier()
    update = updates[0](agent.hparams, jnp.float32(0.5))
    state = jit(update.init)(learner.params, jax.random.key(2))

    def learn(batch):
        return update.apply(learner.params, state, batch, jax.random.key(1))[:2]

    return jax.tree.map(np.asarray, batches[0]), learn


def on_devices(learn, count: int):
    mesh = jax.make_mesh((count,), (collectives.ENVIRONMENTS,), axis_types=(AxisType.Auto,))
    split, same = PartitionSpec(None, collectives.ENVIRONMENTS), PartitionSpec()
    spread = jax.shard_map(learn, mesh=mesh, in_specs=split, out_specs=same, check_vma=False)
    # Without its emitters of fusions, XLA gets a gradient of SAC wrong on eight devices.
    fast = {"xla_backend_optimization_level": 0, **WITH_FUSION_EMITTERS}
    return jax.jit(spread, compiler_options=fast)


def assert_close(found, expected):
    found, expected = arrays(found), arrays(expected)
    assert found.keys() == expected.keys()
    for path, x in expected.items():
        np.testing.assert_allclose(found[path], x, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("name", rows([n for n in AGENTS if n not in DRAWS_FOR_EACH_STEP]))
def test_several_devices_learn_from_a_batch_what_one_does(name, monkeypatch):
    batch, learn = by_gradient_descent(name, monkeypatch)
    # Optimised: at level 0, XLA gets a gradient of SAC and of CrossQ wrong on one device.
    right = {"xla_backend_optimization_level": 3, **WITH_FUSION_EMITTERS}
    one = jax.jit(learn, compiler_options=right)
    alone = one(batch)
    assert different_leaves(alone[0], one(jax.tree.map(np.zeros_like, batch))[0])
    assert_close(on_devices(learn, N)(batch), alone)


@pytest.mark.parametrize(
    "name", ["q_learning", *(pytest.param(n, marks=pytest.mark.long) for n in ("ppo", "dqn"))]
)
def test_any_number_of_devices_gives_the_same_and_without_combining_it_does_not(name, monkeypatch):
    batch, learn = by_gradient_descent(name, monkeypatch)
    alone = jit(learn)(batch)
    for count in (1, 2, 4):
        assert_close(on_devices(learn, count)(batch), alone)
    monkeypatch.setattr(collectives, "pmean", lambda tree: tree)
    monkeypatch.setattr(collectives, "psum", lambda tree: tree)
    with pytest.raises(AssertionError):
        assert_close(on_devices(learn, 2)(batch), alone)


@pytest.mark.parametrize("name", rows(AGENTS))
def test_devices_have_experience_of_their_own_and_learn_the_same_to_the_bit(name):
    spread = rljax.pmap(make(name), devices=2)
    state, step = jit(spread.init)(jax.random.key(0)), jit(spread.step)
    for _ in range(3):
        state, metrics = step(state)
    assert {x.shape for x in metrics.values()} == {()}
    assert metrics[collectives.REPLICAS_DIFFER] == 0
    assert all(np.isfinite(x) for path, x in arrays(metrics).items() if "episodic" not in path), (
        metrics
    )

    def on(device: int, tree):
        return jax.tree.map(lambda x: x.addressable_shards[device].data, tree)

    assert not different_leaves(on(0, state.learner), on(1, state.learner))
    assert {x.shape[0] for x in jax.tree.leaves(on(0, state.worker))} == {N // 2}
    assert different_leaves(on(0, state.worker), on(1, state.worker))
