"""Agents spread over devices: eight fake ones, which `conftest` makes of the one CPU."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec
from states import arrays, different_leaves, jit

import rljax
from rljax import collectives, replay
from rljax.envs import probes
from rljax.errors import ReplicasDiffer, UsageError
from rljax.types import State, Update

SIZES = {"num_envs": 8, "rollout_length": 8, "total_env_steps": 192, "hidden": (8,)}
ppo = partial(rljax.ppo, probes.Recall(), num_epochs=2, num_minibatches=2, **SIZES)
dqn = partial(
    rljax.dqn, probes.Recall(), buffer_size=128, batch_size=16, warmup_env_steps=64, **SIZES
)
KEY = jax.random.key(0)


def after(agent, key, steps: int = 2):
    """State and metrics after some steps, one at a time: fake devices dislike a queue."""
    state, step = jit(agent.init)(key), jit(agent.step)
    for _ in range(steps):
        state, metrics = jax.block_until_ready(step(state))
    return state, metrics


def assert_close(found, expected, **tolerance):
    found, expected = arrays(found), arrays(expected)
    for path in expected:
        np.testing.assert_allclose(found[path], expected[path], err_msg=path, **tolerance)


@pytest.mark.long
@pytest.mark.parametrize("make", [pytest.param(ppo, marks=pytest.mark.slow), dqn])
def test_over_one_device_it_is_the_agent_itself_bit_for_bit(make):
    agent = make()
    assert not different_leaves(after(rljax.pmap(agent, 1), KEY), after(agent, KEY))


@pytest.mark.parametrize("make", [ppo, pytest.param(dqn, marks=pytest.mark.slow)])
def test_literal_pmap_over_the_same_agent_gives_the_same_numbers(make):
    agent, count = make(), 4
    spread = rljax.pmap(agent, count)
    state = jit(spread.init)(KEY)
    # Leaves of the worker lead with [D, N / D] for jax.pmap; the others are the same for all.
    axes = State(None, None, None, learner=None, worker=0)
    split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), jax.device_get(state.worker))
    literal = jax.pmap(
        agent.step,
        axis_name=collectives.ENVIRONMENTS,
        in_axes=(axes,),
        out_axes=(axes, None),
        devices=jax.devices()[:count],
    )
    ours, _ = jit(spread.step)(state)
    theirs, _ = literal(replace(jax.device_get(state), worker=split))
    joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.device_get(theirs.worker))
    assert_close(replace(jax.device_get(theirs), worker=joined), ours, rtol=1e-6, atol=1e-7)


@pytest.mark.long
def test_replicas_are_identical_after_a_hundred_updates():
    agent = ppo(num_minibatches=4, total_env_steps=64 * 13)
    state, _ = rljax.train(rljax.pmap(agent, 4), KEY, chunk_iterations=1)
    assert agent.num_iterations * 2 * 4 >= 100  # epochs x minibatches
    for leaf in jax.tree.leaves(state.learner):
        shards = [np.asarray(shard.data).tobytes() for shard in leaf.addressable_shards]
        assert len(shards) == 4 and len(set(shards)) == 1


@pytest.mark.long
def test_a_population_spread_over_devices_equals_one_on_one_and_exchanges_nothing():
    agent = rljax.vmap(ppo())
    spread, keys = rljax.pmap(agent, 2), jax.random.split(KEY, 4)
    state, metrics = after(spread, keys)
    assert state.worker.obs.sharding.spec == PartitionSpec(collectives.MEMBERS)
    assert_close((state, metrics), after(agent, keys), rtol=1e-4, atol=1e-5)
    text = jit(spread.step).lower(state).compile().as_text()
    exchanges = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    assert not [line for line in text.splitlines() if any(f" {e}(" in line for e in exchanges)]


@pytest.mark.slow
def test_a_population_of_spread_agents_equals_its_members_one_by_one():
    spread, keys = rljax.pmap(ppo(), 2), jax.random.split(KEY, 2)
    state, metrics = after(rljax.vmap(spread), keys)
    assert state.worker.obs.sharding.spec == PartitionSpec(None, collectives.ENVIRONMENTS)
    for index in range(2):
        member = jax.tree.map(lambda x, i=index: x[i], (state, metrics))
        assert_close(member, after(spread, keys[index]), rtol=1e-4, atol=1e-5)


def columns_split(path: str, leaf) -> PartitionSpec:
    """Every kernel of a hidden layer by its columns, and what the optimizer keeps of it."""
    wide = path.endswith("kernel") and leaf.shape[-1] == 8
    return PartitionSpec(None, collectives.MODEL) if wide else PartitionSpec()


@pytest.mark.long
@pytest.mark.parametrize("grid", [pytest.param((1, 4), marks=pytest.mark.slow), (2, 2)])
def test_parameters_split_over_a_second_axis_learn_the_same(grid, monkeypatch):
    monkeypatch.setattr(optax, "adam", lambda lr, eps: optax.sgd(lr, momentum=0.9))
    agent = ppo()
    over = np.array(jax.devices()[: grid[0] * grid[1]]).reshape(grid)
    state, metrics = after(rljax.pmap(agent, over, columns_split), KEY)
    split = {
        path
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.learner)
        if leaf.addressable_data(0).shape != leaf.shape
    }
    assert len(split) == 4  # two kernels and the momentum of each
    assert_close((state, metrics), after(rljax.pmap(agent, grid[0]), KEY), rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_training_evaluates_and_goes_on_wherever_a_state_comes_from():
    agent = ppo()
    whole, _ = rljax.train(rljax.pmap(agent, 4), KEY)
    assert whole.iteration == agent.num_iterations
    half = rljax.pmap(agent, 4).init(KEY)
    for count, spread in ((2, rljax.pmap(agent, 2)), (1, rljax.pmap(agent, 1)), (1, agent)):
        moved, history = rljax.train(spread, half)
        assert len(moved.worker.obs.sharding.device_set) == count
        assert np.isfinite(history["losses/grad_norm"]).all()
    alone = rljax.evaluate(agent, jax.device_get(whole), KEY, 4)
    assert not different_leaves(rljax.evaluate(rljax.pmap(agent, 4), whole, KEY, 4), alone)


@pytest.mark.long
def test_metrics_of_episodes_are_those_of_all_devices():
    agent = ppo(total_env_steps=1000)
    state, metrics = after(rljax.pmap(agent, 4), KEY, 1)
    # Recall's episodes all have the same length, so every environment ends as many of them.
    alone = after(agent, KEY, 1)[1]
    for name in ("charts/episodes", "charts/episodic_length"):
        assert metrics[name] == alone[name] and np.isfinite(metrics[name])


def test_importance_weights_compare_windows_of_all_devices(make_batch):
    memory = replay.prioritized(64, 64, alpha=1.0, beta=1.0, epsilon=0.0)
    rollout = make_batch(4, 2)
    priority = jnp.array([[1.0, 1.0, 1.0, 5.0], [2.0, 2.0, 2.0, 2.0]])

    def draw(rollout, priority, key):
        state = memory.add(memory.init(rollout), rollout)
        written = rollout.annotate(row=jnp.arange(4)[None], priority=priority)
        state = memory.prioritize(state, written)
        return memory.sample(state, collectives.fold_in(key)).extras

    split = PartitionSpec(None, collectives.ENVIRONMENTS)
    mesh = jax.make_mesh((2,), (collectives.ENVIRONMENTS,), axis_types=(AxisType.Auto,))
    in_specs = (split, PartitionSpec(collectives.ENVIRONMENTS), PartitionSpec())
    mapped = jax.shard_map(draw, mesh=mesh, in_specs=in_specs, out_specs=split, check_vma=False)
    drawn = jit(mapped)(rollout, priority, KEY)
    assert drawn["row"].shape == (1, 64)
    first, second = np.split(np.asarray(drawn["row"])[0], 2)
    # Device 0 draws its windows with 1/8, 1/8, 1/8 and 5/8, device 1 its own with 1/4 each.
    expected = [np.array([1.0, 1.0, 1.0, 0.2])[first], np.full(len(second), 0.5)]
    np.testing.assert_allclose(drawn["weight"][0], np.concatenate(expected), rtol=1e-6)
    assert set(first) == set(second) == {0, 1, 2, 3}


def counting(combine) -> Update:
    """An update that counts the steps it has seen, over all devices only if `combine` does."""

    def apply(params, seen, batch, key):
        return params, seen + combine(jnp.sum(batch.obs)), batch, {}

    return Update(lambda params, key: jnp.float32(0), apply)


@pytest.mark.long
def test_what_an_update_forgets_to_combine_is_found_and_what_it_combines_is_not():
    rljax.train(rljax.pmap(ppo(first=counting(collectives.psum)), 2), KEY)
    with pytest.raises(ReplicasDiffer, match="in iteration 1 .*rljax.collectives.pmean"):
        rljax.train(rljax.pmap(ppo(first=counting(lambda x: x)), 2), KEY)


@pytest.mark.parametrize(
    "first, second",
    [
        ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
        ([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]),
        ([1.0, 2.0, 3.0], [-1.0, 2.0, 3.0]),
    ],
)
def test_the_order_and_the_signs_of_numbers_are_part_of_the_comparison(first, second):
    def differ(x):
        same = jnp.arange(3)
        return collectives.differ((same, x[0], same > 1, jax.random.key(0)))

    mesh = jax.make_mesh((2,), (collectives.ENVIRONMENTS,), axis_types=(AxisType.Auto,))
    split, same = PartitionSpec(collectives.ENVIRONMENTS), PartitionSpec()
    differ = jax.shard_map(differ, mesh=mesh, in_specs=split, out_specs=same, check_vma=False)
    assert jit(differ)(np.array([first, second], np.float32))
    assert not jit(differ)(np.array([first, first], np.float32))


def test_another_axis_than_ours_is_refused():
    state = jit(ppo().init)(KEY)
    with pytest.raises(UsageError, match="'batch'.*rljax.pmap"):
        jax.pmap(ppo().step, axis_name="batch")(jax.tree.map(lambda x: x[None], state))
    with pytest.raises(UsageError, match="rljax.pmap"):
        jax.pmap(ppo().step)(jax.tree.map(lambda x: x[None], state))


GRID = np.array(jax.devices()[:4]).reshape(2, 2)


@pytest.mark.parametrize(
    "spread, words",
    [
        (lambda: rljax.pmap(ppo(), 9), "9 devices .* there are 8; set JAX_NUM_CPU_DEVICES=9"),
        (lambda: rljax.pmap(ppo(), 0), "0 devices .* there are 8"),
        (lambda: rljax.pmap(ppo(), []), r"shape \[0\]"),
        (lambda: rljax.pmap(ppo(), 3), "num_envs = 8 .* devices = 3: make num_envs 6 or 9"),
        (lambda: rljax.pmap(dqn(batch_size=12), 8), "batch_size = 12 .* devices = 8"),
        (
            lambda: rljax.pmap(ppo(num_minibatches=64), 2),
            "= 64 .* num_minibatches x 2 devices = 128",
        ),
        (lambda: rljax.pmap(ppo(), [0, 1]), "different ones out of jax.devices"),
        (lambda: rljax.pmap(ppo(), [jax.devices()[0]] * 2), "different ones"),
        (lambda: rljax.pmap(rljax.vmap(rljax.pmap(ppo(), 2)), 2), "spread over devices already"),
        (lambda: rljax.pmap(ppo(), GRID), "param_rule"),
        (lambda: rljax.pmap(ppo(), 2, columns_split), "param_rule"),
        (lambda: rljax.pmap(rljax.vmap(ppo()), GRID, columns_split), "by its members"),
        (
            lambda: rljax.pmap(rljax.vmap(ppo()), 2).init(jax.random.split(KEY, 3)),
            "number of members = 3 .* devices = 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_compiling(spread, words):
    with pytest.raises(UsageError, match=words):
        spread()
