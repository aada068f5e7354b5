from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import rljax
from rljax import agents, tune
from rljax.envs.simulators import on_host
from rljax.experiments import config

FILES = sorted((Path(__file__).parent.parent.parent / "configs").rglob("*.toml"))
SPACES = [path for path in FILES if path.name.endswith(".sweep.toml")]
CONFIGS = [path for path in FILES if path not in SPACES]


LEARNS_NOTHING = ("mcts",)
QUICK = ("ppo/cartpole", "q_learning/frozen_lake")
"""Configs that are always tested."""
SLOW = (
    "td3/playground_cheetah_run",
    *(f"{agent}/brax_inverted_double_pendulum" for agent in ("ppo", "sac", "td3")),
    *(f"ppo/brax_{task}" for task in ("ant", "halfcheetah", "hopper")),
    *(f"sac/brax_{task}" for task in ("ant", "halfcheetah", "hopper", "walker2d")),
)
"""Physics that take ten seconds and more to trace; ppo/brax_inverted_pendulum stands for them."""
ALSO = ("ppo/brax_inverted_pendulum", "ppo/deep_sea", "ppo/memory_chain", "ppo/tic_tac_toe")
"""Configs that have another program than the first of their agent."""


def name(path) -> str:
    """Of a config, as people write it."""
    return f"{path.parent.name}/{path.stem}"


def rows(mark) -> list:
    """All configs: a few are always tested, one of each agent often, and the others seldom."""

    first = {path.parent: path for path in reversed(CONFIGS)}

    def marked(path):
        alone = path == first[path.parent] or name(path) in ALSO
        return mark if alone and name(path) not in SLOW else pytest.mark.slow

    return [p if name(p) in QUICK else pytest.param(p, marks=marked(p)) for p in CONFIGS]


@pytest.mark.parametrize("path", rows(pytest.mark.long), ids=name)
def test_every_config_parses_and_its_parts_fit(path):
    """Traced and not run, since compiling takes ten seconds for most of them."""
    agent = config.load(path).agent()
    assert agent.num_iterations > 2
    if on_host(agent.env):
        return  # Its simulators are stepped by the test below.
    before = jax.eval_shape(agent.init, jax.random.key(0))
    after, metrics = jax.eval_shape(agent.step, before)
    assert jax.tree.map(str, after) == jax.tree.map(str, before)
    learns = path.parent.name not in LEARNS_NOTHING
    assert learns == any(name.startswith("losses/") for name in metrics)


def small(path):
    """The agent of a config, with two short iterations: what is tested is that the parts fit."""
    flags = {"structure.num_envs": "8", "structure.rollout_length": "16", "total_env_steps": "256"}
    full = config.load(path)
    if (full.structure.get("sequence_length") or 1) > 1:
        flags |= {"structure.sequence_length": "8"}
        if "burn_in" in full.structure:  # 16 is a multiple of the stride.
            flags |= {"structure.overlap": "4", "structure.burn_in": "4"}
    if "longest_game" in full.structure:
        flags |= {"structure.longest_game": "4", "structure.num_simulations": "4"}
    if "warmup_env_steps" in full.structure:
        flags |= {"structure.warmup_env_steps": "128", "total_env_steps": "384"}
        flags |= {"structure.buffer_size": "512", "structure.batch_size": "16"}
    if "num_rollouts" in full.structure:
        flags |= {"structure.num_rollouts": "16"}
    agent = config.load(path, flags).agent()
    assert agent.num_iterations == 2
    return agent


@pytest.mark.parametrize("path", rows(pytest.mark.slow), ids=name)
def test_every_config_runs_two_iterations(path):
    agent = small(path)

    def train(key):
        return jax.lax.scan(lambda state, _: agent.step(state), agent.init(key), length=2)

    run = jax.jit(train, compiler_options={"xla_backend_optimization_level": 0})
    if on_host(agent.env):
        run = partial(rljax.train, agent)
    state, metrics = run(jax.random.key(0))
    assert int(state.iteration) == 2
    losses = {name: x for name, x in metrics.items() if name.startswith("losses/")}
    assert losses or path.parent.name in LEARNS_NOTHING
    assert all(np.isfinite(x).all() for x in losses.values())


@pytest.mark.parametrize("path", SPACES, ids=name)
def test_every_search_space_fits_the_config_beside_it(path):
    sweep = tune.resolve(path.with_name(path.name.replace(".sweep", "")))
    assert sweep.space and sweep.settings.trials > 1


def test_there_is_a_config_for_every_environment_of_the_results_and_every_agent():
    assert {p.stem for p in CONFIGS if p.parent.name == "ppo"} == {
        "acrobot",
        "asterix",
        "brax_ant",
        "brax_halfcheetah",
        "brax_hopper",
        "brax_humanoid",
        "brax_inverted_double_pendulum",
        "brax_inverted_pendulum",
        "breakout",
        "cartpole",
        "cartpole_positions",
        "connect_four",
        "deep_sea",
        "door_key",
        "freeway",
        "gymnasium_cartpole",
        "memory_chain",
        "mountain_car",
        "mountain_car_continuous",
        "pendulum",
        "pong",
        "seaquest",
        "space_invaders",
        "tic_tac_toe",
    }
    assert {p.parent.name for p in CONFIGS} == set(agents.AGENTS)
    assert all(config.load(p).top.agent == p.parent.name for p in CONFIGS)
