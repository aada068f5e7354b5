import os
import signal
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import probes, spaces
from rljax.errors import NonFiniteError
from rljax.training import loop

SMALL = {"num_envs": 4, "rollout_length": 8, "hidden": (8,), "num_minibatches": 2, "num_epochs": 1}


@pytest.fixture(scope="module")
def agent(cartpole):
    return rljax.ppo(cartpole, total_env_steps=32 * 10, **SMALL)


@dataclass(frozen=True)
class Poisoned:
    """Counts steps; in step 20 one number that the environment gives is not finite."""

    where: str
    name: str = "Poisoned"
    observation_space: spaces.Box = spaces.Box(-np.inf, np.inf, (1,))
    action_space: spaces.Discrete = spaces.Discrete(2)

    def reset(self, key):
        return jnp.int32(0), jnp.zeros(1)

    def step(self, key, state, action):
        state = state + 1
        poison = jnp.where(state == 20, jnp.nan, 1.0)
        obs = jnp.ones(1) * (poison if self.where == "obs" else 1.0)
        reward = poison if self.where == "reward" else jnp.float32(1.0)
        return state, obs, reward, jnp.bool_(False), jnp.bool_(False)


def test_trains_the_steps_asked_for_and_tells(agent):
    seen = []
    state, history = rljax.train(
        agent,
        jax.random.key(0),
        chunk_iterations=4,
        hooks=[lambda state, row: {"mine": row["env_steps"] * 2}, lambda s, row: seen.append(row)],
    )
    assert int(state.iteration) == 10
    assert history["env_steps"].tolist() == [128, 256, 320]
    assert history["mine"].tolist() == [256, 512, 640]
    assert [row["mine"] for row in seen] == [256, 512, 640]


def test_steps_that_do_not_divide_are_rounded_up(cartpole):
    assert rljax.ppo(cartpole, total_env_steps=33, **SMALL).num_iterations == 2


def test_chunks_do_not_change_the_bits(agent):
    small, _ = rljax.train(agent, jax.random.key(0), chunk_iterations=3)
    large, _ = rljax.train(agent, jax.random.key(0), chunk_iterations=10)
    by_hand = jax.jit(agent.init)(jax.random.key(0))
    assert _bytes(small) == _bytes(large)
    for _ in range(10):
        by_hand, _ = jax.jit(agent.step)(by_hand)
    for one, other in zip(_leaves(small), _leaves(by_hand), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_chunks_end_at_multiples_of_their_length_wherever_a_run_is_taken_up(agent):
    state, _ = rljax.train(agent._replace(num_iterations=2), jax.random.key(0))
    ends = [row["iteration"] for _, row in loop.iterate(agent, state, 3)]
    assert ends == [3, 6, 9, 10]


def test_training_stays_where_its_keys_lie(agent):
    there = jax.devices()[1]
    state, _ = rljax.train(agent, jax.device_put(jax.random.key(0), there), chunk_iterations=10)
    assert {device for x in jax.tree.leaves(state) for device in x.devices()} == {there}
    mesh = jax.sharding.Mesh(jax.devices()[:2], "x")
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    keys = jax.device_put(jax.random.split(jax.random.key(0), 2), spread)
    states, _ = rljax.train(rljax.vmap(agent), keys, chunk_iterations=10)
    assert states.iteration.tolist() == [10, 10]


def test_a_state_handed_in_stays_usable(agent):
    state = agent.init(jax.random.key(0))
    rljax.train(agent, state, chunk_iterations=10)
    assert np.isfinite(np.asarray(state.worker.obs)).all()


def test_a_population_has_rows_of_lists(agent):
    population = rljax.vmap(agent)
    _, history = rljax.train(population, jax.random.split(jax.random.key(0), 3), chunk_iterations=5)
    assert history["losses/entropy"].shape == (2, 3)
    assert history["env_steps"].shape == (2,)


def test_episode_means_are_weighted_by_episodes_and_absent_without_any(agent):
    metrics = {
        "charts/episodes": np.array([1.0, 3.0, 0.0]),
        "charts/episodic_return": np.array([10.0, 20.0, np.nan]),
        "losses/entropy": np.array([1.0, 2.0, 3.0]),
    }
    row = loop.summarize(agent, metrics, 3, 1.0)
    assert row["charts/episodic_return"] == 17.5 and row["charts/episodes"] == 4
    assert row["losses/entropy"] == 2.0
    none = {name: values[2:] for name, values in metrics.items()}
    assert loop.summarize(agent, none, 3, 1.0)["charts/episodic_return"] is None


@pytest.mark.parametrize(("where", "named"), [("obs", "an observation"), ("reward", "a reward")])
def test_what_an_environment_poisons_stops_the_run_and_is_named(where, named):
    agent = rljax.ppo(Poisoned(where), total_env_steps=32 * 10, **SMALL)
    rows = []
    with pytest.raises(NonFiniteError, match=rf"{named} .*iteration 3 \(env steps 96\)") as caught:
        rljax.train(
            agent, jax.random.key(0), chunk_iterations=2, hooks=[lambda s, r: rows.append(r)]
        )
    assert "params/" in str(caught.value)
    assert len(rows) == 1, "the chunk before the poison, and no other, reaches the hooks"


def test_a_gradient_that_explodes_is_named(cartpole):
    agent = rljax.ppo(
        cartpole, total_env_steps=320, hparams=rljax.ppo.Hparams(value_coef=float("inf")), **SMALL
    )
    with pytest.raises(NonFiniteError, match="a gradient is not finite in iteration 1"):
        rljax.train(agent, jax.random.key(0))


def test_members_that_are_unsound_are_told_apart_and_the_others_keep_their_bits(agent):
    population, keys = rljax.vmap(agent), jax.random.split(jax.random.key(0), 3)
    sound, unsound = np.full(3, 1e-3), np.array([1e-3, 1e38, 1e-3])
    found = []

    def train(lr, **given):
        begin = population.init(keys, rljax.ppo.Hparams(lr=lr))
        *_, (state, _) = loop.iterate(population, begin, 10, **given)
        return jax.tree.map(lambda x: x[jnp.array([0, 2])], state.learner)

    with pytest.raises(NonFiniteError, match="a gradient is not finite in iteration 1 .*params/"):
        train(unsound)
    beside = train(unsound, on_fault=found.append)
    assert _bytes(beside) == _bytes(train(sound))
    assert [list(faults) for faults in found] == [[1]]
    assert (found[0][1].iteration, found[0][1].env_steps) == (1, 32)


def test_an_interrupt_keeps_the_work(agent):
    def interrupt(state, row):
        if row["iteration"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    state, history = rljax.train(agent, jax.random.key(0), chunk_iterations=2, hooks=[interrupt])
    # Heard of between a chunk and its hooks, so that they all know: here after the next one.
    assert int(state.iteration) == 4 and len(history["env_steps"]) == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def interrupted(monkeypatch):
    """From its call on, every chunk is interrupted while it runs, as a notebook does."""
    fetch = loop.devices.fetch

    def interrupting(tree):
        if isinstance(tree, dict) and "charts/episodes" in tree:
            os.kill(os.getpid(), signal.SIGINT)
        return fetch(tree)

    return lambda: monkeypatch.setattr(loop.devices, "fetch", interrupting)


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C as in a terminal: a job in the background, or one worker of several, ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_within_a_chunk_leaves_the_last_state_whole(agent, interrupted, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    rows = []
    with pytest.raises(KeyboardInterrupt):
        for last, row in rljax.iterate(agent, loop.prepare(agent, jax.random.key(0))[0], 4):
            state = last
            rows.append(row)
            interrupted()
    assert [row["iteration"] for row in rows] == [4, 8]
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    # Going on from it ends where a run that nobody stopped does.
    state, _ = rljax.train(agent, state, chunk_iterations=4)
    assert _bytes(state) == _bytes(rljax.train(agent, jax.random.key(0), chunk_iterations=4)[0])


def test_an_interrupt_within_a_chunk_ends_train_without_an_error(agent, interrupted):
    interrupted()
    state, history = rljax.train(agent, jax.random.key(0), chunk_iterations=4)
    assert int(state.iteration) == 4 and history["env_steps"].tolist() == [128]


def test_a_second_interrupt_does_not_wait_for_the_chunk(agent, monkeypatch):
    def impatient(tree):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one is not raised")

    rows = rljax.iterate(agent, jax.jit(agent.init)(jax.random.key(0)), 4)
    next(rows)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop.devices, "fetch", impatient)
        next(rows)


def test_nothing_compiles_after_the_first_chunk(agent):
    programs, counts = [], []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            programs.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for _ in loop.iterate(agent, agent.init(jax.random.key(0)), 3):
            counts.append(len(programs))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert counts[0] > 0 and counts == [counts[0]] * 4


def test_memory_does_not_grow_with_the_steps_trained(agent):
    alive = []
    for state, _ in loop.iterate(agent, agent.init(jax.random.key(0)), 1):
        del state
        alive.append(sum(array.nbytes for array in jax.live_arrays()))
    assert len(alive) == 10 and set(alive[2:]) == {alive[2]}


def _leaves(state):
    state = jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        state,
    )
    return [np.asarray(x) for x in jax.tree.leaves(state)]


def _bytes(state):
    return [x.tobytes() for x in _leaves(state)]


def test_what_keeps_an_agent_from_learning_is_warned_of_once():
    """Of a reward of 1 a step nothing fits between -0.1 and 0.1, and all of it between 0 and 10."""
    small = {"num_envs": 4, "buffer_size": 64, "batch_size": 8, "warmup_env_steps": 16}
    options = {**small, "hidden": (8,), "head": "c51", "num_atoms": 5, "total_env_steps": 60}
    hparams = rljax.dqn.Hparams(gamma=0.9)
    for bounds, count in (((-0.1, 0.1), 1), ((0.0, 10.0), 0)):
        v_min, v_max = bounds
        env = probes.ConstantReward()
        agent = rljax.dqn(env, **options, v_min=v_min, v_max=v_max, hparams=hparams)
        warned: list[str] = []
        _, history = rljax.train(
            rljax.vmap(agent), jax.random.split(jax.random.key(0), 2), warn=warned.append
        )
        assert len(warned) == count and all("v_min and v_max" in line for line in warned)
        assert ((history["losses/clipped_targets"] > 0.1) == bool(count)).all()
