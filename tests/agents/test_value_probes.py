"""Value-based agents and policy gradients solve the probe environments; PPO's are test_probes."""

import re
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

import rljax
from rljax import networks
from rljax.envs import probes

GAMMA = 0.9
SEEDS = 4
HIDDEN = (16,)
# Compiling takes longer than training here.
jit = {"compiler_options": {"xla_backend_optimization_level": 0}}

replayed = {
    "num_envs": 8,
    "rollout_length": 4,
    "buffer_size": 1_024,
    "batch_size": 64,
    "updates_per_iteration": 4,
    "warmup_env_steps": 256,
    "target_period": 10,
    "total_env_steps": 6_000,
}
imagined = {name: x for name, x in replayed.items() if name != "target_period"}
imagined |= {"num_simulations": 8, "unroll_steps": 2, "n_step": 2, "rescale_values": False}
imagined |= {"model_hidden": (16,), "state_size": 16}
relaxed = {name: x for name, x in replayed.items() if name != "target_period"}
returns = {"v_min": -1.0, "v_max": 2.0, "num_atoms": 16}
rollouts = {"num_envs": 16, "rollout_length": 12, "anneal_lr": False, "total_env_steps": 20_000}
minibatches = {"num_epochs": 2, "num_minibatches": 4}


@cache
def program(name: str, env, options: tuple, hparams: tuple):
    factory = getattr(rljax, name)
    numbers = replace(factory.Hparams(), **{"gamma": GAMMA, "lr": 1e-2, **dict(hparams)})
    agent = factory(env, hidden=HIDDEN, hparams=numbers, **dict(options))

    def run(key, lr):
        state = agent.init(key, replace(agent.hparams, lr=lr))
        state, _ = jax.lax.scan(lambda s, _: agent.step(s), state, length=agent.num_iterations)
        return state

    return agent, jax.jit(jax.vmap(run, in_axes=(0, None)), **jit)


def train(name: str, env, options: dict, hparams: dict, lr: float | None = None):
    """The agent and the last states of all seeds."""
    agent, run = program(name, env, tuple(options.items()), tuple(hparams.items()))
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return agent, run(keys, agent.hparams.lr if lr is None else lr)


match, delayed = probes.MatchingAction(), probes.DelayedReward()
signals = probes.Signals()
cues = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], np.float32)
both = {
    "own": cues[..., None],
    "agent": np.broadcast_to(np.eye(2, dtype=np.float32), (4, 2, 2)),
    "state": np.broadcast_to(np.insert(cues, 2, 0.0, axis=1)[:, None], (4, 2, 3)),
}
# Observations, and what to do there.
KNOWN = {
    match: (np.arange(3), [0, 1, 2]),
    delayed: (np.arange(1), [1]),
    signals: (both, (cues > 0).astype(int)),
}
SOLVED: dict[str, tuple[str, Any, dict[str, Any], dict[str, float]]] = {
    "dqn": ("dqn", match, {**replayed, "loss": "huber"}, {}),
    "dqn extended": (
        "dqn",
        delayed,
        {**replayed, "double": True, "dueling": True, "n_step": 3, "prioritized": True},
        {},
    ),
    "dqn noisy": ("dqn", match, {**replayed, "noisy": True}, {}),
    "dqn c51": ("dqn", match, {**replayed, "head": "c51", **returns}, {}),
    "dqn qr": ("dqn", match, {**replayed, "head": "qr", "num_atoms": 8}, {}),
    "dqn iqn": ("dqn", match, {**replayed, "head": "iqn", "num_atoms": 8}, {}),
    "apex": ("apex", delayed, replayed, {}),
    "rainbow": ("rainbow", delayed, {**replayed, **returns}, {}),
    "muzero": ("muzero", delayed, {**imagined, **returns}, {}),
    "muzero gumbel": (
        "muzero",
        match,
        {**imagined, "search": "gumbel", "head": "scalar", "prioritized": True},
        {},
    ),
    "pqn": ("pqn", match, {**rollouts, **minibatches}, {}),
    "pqn lambda": ("pqn", delayed, {**rollouts, **minibatches}, {"q_lambda": 0.9}),
    "a2c": ("a2c", delayed, rollouts, {}),
    "a2c n_step": ("a2c", delayed, {**rollouts, "n_step": 3}, {}),
    "impala": ("impala", delayed, {**rollouts, "policy_lag": 2}, {}),
    "appo": ("appo", delayed, {**rollouts, **minibatches, "policy_lag": 2}, {}),
    "ippo": ("ippo", signals, {**rollouts, **minibatches}, {}),
    "ippo own": ("ippo", signals, {**rollouts, **minibatches, "parameters": "own"}, {}),
    "mappo": ("mappo", signals, {**rollouts, **minibatches}, {}),
    "iql": ("iql", signals, replayed, {}),
    "vdn": ("vdn", signals, replayed, {}),
    "qmix": ("qmix", signals, replayed, {}),
    "maddpg": ("maddpg", signals, relaxed, {"tau": 0.05}),
    "maddpg soft": ("maddpg", signals, {**relaxed, "relaxation": "soft"}, {"tau": 0.05}),
    "maddpg shared": ("maddpg", signals, {**relaxed, "parameters": "shared"}, {"tau": 0.05}),
    "matd3": ("matd3", signals, relaxed, {"tau": 0.05}),
    "reinforce": ("reinforce", delayed, rollouts, {}),
    "reinforce plain": ("reinforce", delayed, {**rollouts, "baseline": False}, {}),
    "reinforce match": ("reinforce", match, {**rollouts, "baseline": False}, {}),
}


def solved(name: str, lr: float | None = None, **changes) -> np.ndarray:
    """Whether each seed does the best it can wherever it counts."""
    factory, env, options, hparams = SOLVED[name]
    agent, states = train(factory, env, {**options, **changes}, hparams, lr)
    observations, best = KNOWN[env]
    if isinstance(observations, dict):
        parts = agent.env.observation_space.spaces
        observations = {part: observations[part] for part in parts}
    act = jax.vmap(lambda state: agent.act(state, observations, (), None)[0])
    return (np.asarray(act(states)) == best).reshape(SEEDS, -1).all(axis=1)


def slow_but(rows, fast: set[str], long: frozenset[str] = frozenset()) -> list:
    """All rows; those not `fast` are marked as `long` or slow: nearly all of this is compiling."""
    assert fast | long <= set(rows)

    def marked(row: str):
        return pytest.param(row, marks=pytest.mark.long if row in long else pytest.mark.slow)

    return [row if row in fast else marked(row) for row in rows]


FAST = {"dqn"}
LONG = frozenset({"impala"})


@pytest.mark.parametrize("name", slow_but(SOLVED, FAST, LONG))
def test_probes_are_solved(name):
    assert solved(name).all()


@pytest.mark.parametrize("name", sorted(FAST))
def test_without_a_step_size_they_are_not(name):
    assert not solved(name, lr=0.0).all()


clock, places = np.arange(5), np.arange(8)
VALUES = {
    "truncated": (probes.ConstantReward(), clock, np.full(5, 1 / (1 - GAMMA))),
    "terminated": (probes.ConstantReward(truncates=False), clock, np.cumsum(GAMMA**clock)[::-1]),
    "ring": (probes.Ring(), places, GAMMA ** places[::-1] / (1 - GAMMA**8)),
}
explore = {"epsilon_start": 0.5, "epsilon_end": 0.5}
longer = {**replayed, "total_env_steps": 16_000, "anneal_lr": True}
AGENTS: dict[str, tuple[str, dict[str, Any], dict[str, float], dict[str, Any]]] = {
    "dqn": ("dqn", longer, explore, {"head": networks.value_head("scalar")}),
    "dqn extended": (
        "dqn",
        {**longer, "double": True, "dueling": True, "n_step": 3, "prioritized": True},
        explore,
        {"head": networks.value_head("scalar"), "dueling": True},
    ),
    "dqn soft": (
        "dqn",
        {**longer, "target_period": 1},
        {**explore, "tau": 0.1},
        {"head": networks.value_head("scalar")},
    ),
    "muzero": (
        "muzero",
        {**imagined, "head": "scalar", "anneal_lr": True, "total_env_steps": 16_000},
        {},
        {"head": networks.value_head("scalar", "squared"), "model_hidden": (16,), "state_size": 16},
    ),
    "pqn": (
        "pqn",
        {**rollouts, **minibatches, "anneal_lr": True, "total_env_steps": 40_000},
        explore,
        {"head": networks.value_head("scalar"), "layer_norm": True},
    ),
}


def values(agent_name: str, name: str, lr: float | None = None) -> np.ndarray:
    """What each seed says of each observation and action [seeds, B, A]."""
    factory, options, hparams, network = AGENTS[agent_name]
    env, observations, _ = VALUES[name]
    _, states = train(factory, env, options, hparams, lr)
    params = states.learner.params
    if factory == "muzero":  # It values states, not actions.
        model = networks.latent_model(env, "auto", HIDDEN, **network)
        return np.asarray(jax.vmap(lambda p: model.value(p, observations))(params))[..., None]
    q = networks.q_network(env, "auto", HIDDEN, **network)
    params = params.get("online", params)
    return np.asarray(jax.vmap(lambda p: q.values(p, observations, (), None)[0])(params))


TOLERANCES = {"muzero": 0.2}
"""It bootstraps from a model that is still learning, without a target network."""
LEARNT = [f"{agent}, {name}" for agent in AGENTS for name in VALUES]


@pytest.mark.parametrize(
    "row",
    slow_but(
        LEARNT,
        {"dqn, ring"},
        frozenset({"pqn, terminated"}),
    ),
)
def test_values_converge_to_the_discounted_sum(row):
    agent_name, name = row.split(", ")
    expected = VALUES[name][2]
    found = values(agent_name, name)
    rtol = TOLERANCES.get(agent_name, 0.02)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), rtol=rtol)


@pytest.mark.parametrize("agent_name", ["dqn", "pqn"])
def test_without_a_step_size_they_do_not(agent_name):
    found = values(agent_name, "ring", lr=0.0)
    assert (np.abs(found / VALUES["ring"][2][:, None] - 1).max(axis=(1, 2)) > 0.1).all()


OPTIONS: dict[str, dict[str, Any]] = {
    "dqn": {
        "updates_per_iteration": 2,
        "target_period": 3,
        "double": True,
        "dueling": True,
        "n_step": 2,
        "prioritized": True,
        "noisy": True,
        "head": "qr",
        "loss": "huber",
        "normalize_observations": True,
        "anneal_lr": True,
    },
    "rainbow": {  # each of its parts, taken away
        "double": False,
        "dueling": False,
        "n_step": 1,
        "prioritized": False,
        "noisy": False,
        "head": "scalar",
    },
    "apex": {
        "double": False,
        "dueling": False,
        "n_step": 1,
        "initial_priorities": False,
        "exploration": "epsilon_greedy",
    },
    "muzero": {
        "search": "gumbel",
        "num_simulations": 8,
        "unroll_steps": 3,
        "n_step": 3,
        "prioritized": True,
        "reanalysed": True,
        "model_hidden": (8,),
        "state_size": 8,
        "num_atoms": 21,
        "v_min": 0.0,
        "rescale_values": False,
        "normalize_observations": True,
        "anneal_lr": True,
    },
    "pqn": {"num_epochs": 3, "layer_norm": False, "dueling": True, "anneal_lr": False},
    "a2c": {"n_step": 2, "anneal_lr": False},
    "a3c": {"policy_lag": 1, "n_step": 2, "anneal_lr": False},
    "impala": {"policy_lag": 1, "correction": "none", "anneal_lr": False},
    "appo": {"policy_lag": 1, "correction": "none", "objective": "kl_penalty"},
    "reinforce": {"baseline": False, "anneal_lr": False},
    "q_learning": {"n_step": 2, "exploration": "boltzmann", "step_size": "harmonic"},
}
COUNTS = {
    "dqn": {"buffer_size": 64, "batch_size": 8, "warmup_env_steps": 32},
    "pqn": {"num_minibatches": 2},
    "appo": {"num_minibatches": 2},
}


ALIKE = {"rainbow", "apex", "appo", "a3c", "muzero"}
"""Variants of other agents, and what has so many options that it takes a minute."""

COUNTS["apex"] = COUNTS["dqn"]
COUNTS["muzero"] = COUNTS["dqn"]
COUNTS["rainbow"] = {**COUNTS["dqn"], "v_min": 0.0, "v_max": 1.0}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in ALIKE else n for n in OPTIONS]
)
@pytest.mark.long
def test_every_option_changes_the_program(name):
    def program(**options) -> str:
        if name != "q_learning":
            options = {"hidden": (4,), **options}
        counts = {"num_envs": 2, "rollout_length": 4, "total_env_steps": 1_000}
        agent = getattr(rljax, name)(match, **counts, **COUNTS.get(name, {}), **options)
        state = jax.eval_shape(agent.init, jax.random.key(0))
        return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(agent.step)(state)))

    usual = program()
    assert [key for key, x in OPTIONS[name].items() if program(**{key: x}) == usual] == []
