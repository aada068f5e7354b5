from urllib.error import URLError

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import GYMNAX, autoreset, gymnax, spaces
from rljax.errors import UsageError

# Types are under test here, not speed: compile fast, not well.
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
MNIST = "MNISTBandit-bsuite"


@pytest.fixture
def mnist_data(monkeypatch):
    from gymnax.utils import load_mnist

    images, labels = np.zeros((5, 28, 28), np.int8), np.zeros(5, np.uint8)
    monkeypatch.setattr(load_mnist, "load_mnist", lambda: ((images, labels), None))


def types(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def test_the_names_are_those_gymnax_registers():
    from gymnax import registered_envs

    assert list(GYMNAX) == list(registered_envs)


SLOW_TO_COMPILE = (
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Freeway-MinAtar",
    "Asterix-MinAtar",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.long) if n in SLOW_TO_COMPILE else n for n in GYMNAX],
)
def test_every_environment_is_described_and_steps_with_stable_types(name, request):
    if name == MNIST:
        request.getfixturevalue("mnist_data")
    env = rljax.make(name)
    assert env.name == name

    def play(key):
        def step(state, key):
            action = jnp.zeros(env.action_space.shape, env.action_space.dtype)
            *state, reward, terminated, truncated, next_obs = autoreset.autoreset(
                env, key, state[0], action
            )
            return state, (state[1], next_obs, reward, terminated, truncated)

        start = list(autoreset.reset(env, key))
        return start, *jax.lax.scan(step, start, jax.random.split(key, 3))

    compiled = jax.jit(play).trace(jax.random.key(0))
    start, end, _ = types(compiled.out_info)
    assert start == end
    assert not any(weak for *_, weak in jax.tree.leaves(start, is_leaf=lambda x: type(x) is tuple))

    _, _, (obs, next_obs, reward, terminated, truncated) = compiled.lower().compile(FAST)(
        jax.random.key(0)
    )
    space = env.observation_space
    assert obs.shape == next_obs.shape == (3, *space.shape)
    assert obs.dtype == space.dtype
    assert reward.dtype == np.float32 and terminated.dtype == truncated.dtype == bool
    for numbers in obs, next_obs, reward:
        assert np.isfinite(numbers).all()
    assert not np.any(terminated & truncated)
    assert "\n" not in spaces.describe(space) and "Box" in spaces.describe(space) or space.n


def minatar() -> list:
    """The games; those that take seconds to compile are further rows."""
    games = [name for name in GYMNAX if name.endswith("-MinAtar")]
    fast = "Breakout-MinAtar"
    return [g if g == fast else pytest.param(g, marks=pytest.mark.long) for g in games]


@pytest.mark.parametrize("name", minatar())
def test_minatar_is_seen_as_bool_and_nothing_is_lost(name):
    env = gymnax.make(name)  # rljax.make gives a Seaquest of its own

    def seen(key):
        state, obs = env.reset(key)
        theirs = env.env.reset_env(key, env.params)[0]

        def step(state, key):
            key_act, key_step = jax.random.split(key)
            action = jax.random.randint(key_act, (), 0, env.action_space.n)
            theirs = env.env.step_env(key_step, state, action, env.params)[0]
            state, obs, *_ = env.step(key_step, state, action)
            return state, (obs, theirs)

        return (obs, theirs), jax.lax.scan(step, state, jax.random.split(key, 200))[1]

    compiled = jax.jit(seen).lower(jax.random.key(0)).compile(FAST)
    for ours, theirs in compiled(jax.random.key(0)):
        assert ours.dtype == bool and theirs.any()
        np.testing.assert_array_equal(ours, theirs)


def test_data_that_cannot_be_downloaded_is_refused_in_one_sentence(monkeypatch):
    from gymnax.utils import load_mnist

    def no_network(*_):
        raise URLError("no route to host")

    monkeypatch.setattr(load_mnist, "load_mnist", no_network)
    with pytest.raises(UsageError, match=f"^environment {MNIST} downloads .* no route") as refusal:
        rljax.make(MNIST)
    assert "\n" not in str(refusal.value)


def test_parameters_override_those_of_the_environment():
    usual, low = rljax.make("CartPole-v1"), rljax.make("CartPole-v1", max_steps_in_episode=1)
    assert usual.params.max_steps_in_episode == 500
    key = jax.random.key(0)
    for env, expected in (usual, False), (low, True):
        state, _ = env.reset(key)
        *_, terminated, truncated = env.step(key, state, jnp.int32(0))
        assert (bool(terminated), bool(truncated)) == (False, expected)


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("CartPole-v0", {}, "env 'CartPole-v0' is not known; did you mean 'CartPole-v1'"),
        ("breakout-minatar", {}, "did you mean 'Breakout-MinAtar'"),
        ("Pong-v1", {}, "env 'Pong-v1' is not known; did you mean"),
        ("zzz", {}, "env 'zzz' is not known; there is .*CartPole-v1"),
        (
            "CartPole-v1",
            {"max_steps_per_episode": 7},
            "CartPole-v1 has no parameter 'max_steps_per_episode'; did you mean 'max_steps_in_ep",
        ),
    ],
)
def test_misspelt_names_are_refused_with_the_nearest(name, params, message):
    with pytest.raises(UsageError, match=message) as refusal:
        rljax.make(name, **params)
    assert "\n" not in str(refusal.value)


def test_a_time_limit_truncates_and_a_fall_terminates(cartpole):
    def last(env, steps):
        def step(carry, key):
            state, _ = carry
            state, obs, _, terminated, truncated = autoreset.step(env, key, state, jnp.int32(1))
            return (state, obs), (terminated, truncated)

        start = autoreset.reset(env, jax.random.key(0))
        return jax.lax.scan(step, start, jax.random.split(jax.random.key(1), steps))[1]

    limited = rljax.make("CartPole-v1", max_steps_in_episode=4)
    terminated, truncated = last(limited, 4)
    assert not terminated.any() and truncated.tolist() == [False, False, False, True]
    terminated, truncated = last(cartpole, 12)
    assert terminated.any() and not truncated.any()
