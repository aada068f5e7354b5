"""Actors as processes of Ray."""

import os
import sys

import jax
import pytest
from states import different_leaves
from walks import walks

import rljax

ray = pytest.importorskip("ray")

SIZES = {"num_envs": 4, "rollout_length": 4, "total_env_steps": 96, "hidden": (8,)}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all tests of this file: starting it takes seconds."""
    paths = os.pathsep.join(path for path in sys.path if path)
    runtime = {"env_vars": {"PYTHONPATH": paths}}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def on_threads():
    return rljax.train(rljax.a2c(walks(), **SIZES), jax.random.key(0))[0]


def test_ray_and_threads_give_the_same_bits(on_threads):
    agent = rljax.distribute(rljax.a2c(walks(), **SIZES), 2, "ray")
    state, history = rljax.train(agent, jax.random.key(0))
    assert not different_leaves(state, on_threads)
    assert history["charts/actor_failures"].sum() == 0
