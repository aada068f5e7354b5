"""Fixtures that several test modules share."""

import gc
import os
import warnings

from compiling import QUICKLY

# Before JAX is imported, and in the environment so that subprocesses share the cache, too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rljax", "test-jax"
    ),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# Compiling is nearly all that tests do: so programs are compiled quickly, not well. For the slow
# tests, which learn for minutes, say XLA_FLAGS= to have them compiled as users have them.
os.environ.setdefault("XLA_FLAGS", QUICKLY)
# Of the one CPU, for what is spread over devices.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.envs import spaces
from rljax.types import Extras, Transition

MOST_MEMORY = 4 * 2**30  # bytes that a process of the tests may come to hold
MOST_GROWTH = 2**30  # bytes that it may grow by before it is worth compiling all anew
kept = 0  # bytes that were left the last time


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Compiled programs are what a process of the tests grows by: without this, to 5 GB."""
    global kept
    yield
    if resident_memory() > max(MOST_MEMORY, kept + MOST_GROWTH):
        jax.clear_caches()
        gc.collect()
        # Most of the memory is free then, but stays with the process.
        kept = resident_memory()


def resident_memory() -> int:
    """Bytes of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


class Walk:
    """Walks by its action; terminated at position 3, truncated after 4 steps.

    It is as careless about types as a person's first environment: weak numbers, Python bools, an
    integer that steps turn into a float. Each episode has a random `start`, its first feature.
    """

    name = "Walk"
    observation_space = spaces.Box(-np.inf, np.inf, (3,))
    action_space = spaces.Discrete(4)

    def reset(self, key):
        start = jax.random.uniform(key)
        return {"start": start, "position": 0, "time": 0}, jnp.stack([start, 0.0, 0.0])

    def step(self, key, state, action):
        position, time = state["position"] + 1.0 * action, state["time"] + 1
        obs = jnp.stack([state["start"], position, 1.0 * time])
        state = {"start": state["start"], "position": position, "time": time}
        return state, obs, 10 * action + 1, position >= 3, time >= 4


@pytest.fixture(scope="session")
def walk():
    return Walk()


@pytest.fixture(scope="session")
def cartpole():
    import rljax

    return rljax.make("CartPole-v1")


@pytest.fixture(scope="session")
def rlax():
    """DeepMind's rlax, as an oracle; the libraries it imports use names JAX has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("rlax")


@pytest.fixture(scope="session")
def make_batch():
    """A function from T, N and any fields to a transition [T, N]; extras get the row's `index`."""

    def make(time: int, envs: int, extras: dict | None = None, **fields) -> Transition:
        shape = (time, envs)
        values = {
            "obs": jnp.zeros((*shape, 2)),
            "next_obs": jnp.zeros((*shape, 2)),
            "action": jnp.zeros(shape, jnp.int32),
            "reward": jnp.zeros(shape),
            "terminated": jnp.zeros(shape, bool),
            "truncated": jnp.zeros(shape, bool),
        }
        index = jnp.arange(time * envs).reshape(shape)
        return Transition(**{**values, **fields}, extras=Extras(index=index, **(extras or {})))

    return make
