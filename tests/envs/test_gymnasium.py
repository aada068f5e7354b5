"""Environments of Gymnasium as simulators: every number of scripted episodes, and refusals."""

import pickle
import re
import subprocess
import sys
from dataclasses import fields
from functools import partial

import cloudpickle
import gymnasium
import jax
import numpy as np
import pages
import pytest
from gymnasium import spaces as theirs
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from scripted import Copying, Scripted

import rljax
from rljax import envs
from rljax.envs import conversion, spaces
from rljax.envs.atari import Options
from rljax.envs.simulators import HostEnvironment
from rljax.errors import UsageError

NAME = "gymnasium/scripted:Scripted-v0"


def vector(mode, num_envs):
    return SyncVectorEnv([Copying] * num_envs, autoreset_mode=mode, copy=False)


def processes(num_envs):
    return AsyncVectorEnv([Copying] * num_envs, context="spawn")


KINDS = {
    "id": NAME,
    "function": Scripted,
    "same step": partial(vector, AutoresetMode.SAME_STEP),
    "next step": partial(vector, AutoresetMode.NEXT_STEP),
    "processes": processes,
    "disabled": partial(vector, AutoresetMode.DISABLED),
}
# Ten steps of each environment: what is acted on next, and what the step led to.
OBS = {"episode": [0, 1, 1, 1, 2, 2, 2, 2, 3, 3], "time": [1, 0, 1, 2, 0, 1, 2, 3, 0, 1]}
NEXT_OBS = {"episode": [0, 0, 1, 1, 1, 2, 2, 2, 2, 3], "time": [1, 2, 1, 2, 3, 1, 2, 3, 4, 1]}
TERMINATED = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
TRUNCATED = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_scripted_episodes(kind):
    simulator = rljax.make(KINDS[kind]).simulator(2)
    for _ in range(2):  # A reset with seeds begins anew.
        first = simulator.reset([7, 9])
        np.testing.assert_array_equal(first, [[7, 0, 0], [9, 0, 0]])
        actions = np.stack([np.arange(10) % 4, np.full(10, 3)], 1).astype(np.int32)
        played = [simulator.step(a) for a in actions]
        steps = jax.tree.map(lambda *x: np.stack(x), *played)
        np.testing.assert_array_equal(first, [[7, 0, 0], [9, 0, 0]])
        for name, table in (("obs", OBS), ("next_obs", NEXT_OBS)):
            seen = getattr(steps, name)
            assert seen.dtype == np.float32
            np.testing.assert_array_equal(seen[:, :, 0], np.tile([7, 9], (10, 1)))
            for i, column in enumerate(("episode", "time"), 1):
                np.testing.assert_array_equal(seen[:, :, i].T, [table[column]] * 2)
        np.testing.assert_array_equal(steps.terminated.T, [TERMINATED] * 2)
        np.testing.assert_array_equal(steps.truncated.T, [TRUNCATED] * 2)
        np.testing.assert_array_equal(steps.over, steps.terminated | steps.truncated)
        reward = 10 * np.array(NEXT_OBS["time"])[:, None] + actions
        np.testing.assert_array_equal(steps.reward, reward)
        np.testing.assert_array_equal(steps.score, reward)
        assert steps.reward.dtype == steps.score.dtype == np.float32
        assert steps.terminated.dtype == steps.truncated.dtype == steps.over.dtype == bool
    simulator.close()


@pytest.mark.parametrize("kind", ["id", "function"])
def test_a_host_environment_has_spaces_and_a_name_and_can_be_pickled(kind):
    env = rljax.make(KINDS[kind])
    assert isinstance(env, HostEnvironment)
    assert env.name == {"id": NAME, "function": "Scripted"}[kind]
    assert env.action_space == spaces.Discrete(4)
    assert env.observation_space.shape == (3,) and env.observation_space.dtype == np.float32
    assert env.reset(jax.random.key(0))[1].shape == (3,)
    again = pickle.loads(pickle.dumps(env.simulator))(1)
    np.testing.assert_array_equal(again.reset([4]), [[4, 0, 0]])


def test_a_function_of_a_notebook_can_be_pickled_by_value():
    env = rljax.make(lambda: Scripted())
    again = pickle.loads(cloudpickle.dumps(env.simulator))(1)
    np.testing.assert_array_equal(again.reset([4]), [[4, 0, 0]])


def test_rewards_and_scores_are_arrays_of_their_own():
    simulator = rljax.make(Scripted).simulator(1)
    simulator.reset([0])
    steps = simulator.step(np.zeros(1, np.int32))
    steps.reward[:] = 0
    assert steps.score == 10


class Spaces(gymnasium.Env):
    """Observes a sample of a space; keeps the actions that it was given."""

    def __init__(self, observation_space, action_space=None):
        self.observation_space = observation_space
        self.action_space = action_space or theirs.Discrete(2)
        self.given = []

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        self.last = self.observation_space.sample()
        return self.last, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.given.append(action)
        self.last = self.observation_space.sample()
        return self.last, 0.0, False, False, {}


DICT = theirs.Dict({"a": theirs.Discrete(3, start=5), "b": theirs.Box(0, 255, (2, 2), np.uint8)})


@pytest.mark.parametrize(
    ("space", "described", "dtype"),
    [
        (theirs.Discrete(7), "Discrete(7)", np.int32),
        (theirs.Box(-1, 1, (2, 3), np.float64), "Box(2, 3) float32 in [-1, 1]", np.float32),
        (theirs.Box(0, 255, (4, 4, 3), np.uint8), "Box(4, 4, 3) uint8 in [0, 255]", np.uint8),
        (theirs.Box(-5, 5, (2,), np.int64), "Box(2,) int32 in [-5, 5]", np.int32),
        (theirs.MultiBinary([2, 2]), "Box(2, 2) bool in [0, 1]", np.bool_),
        (theirs.Dict({"x": theirs.Discrete(2)}), "Dict(x: Discrete(2))", np.int32),
    ],
)
def test_spaces_and_their_observations(space, described, dtype):
    env = rljax.make(lambda: Spaces(space))
    assert spaces.describe(env.observation_space) == described
    simulator = env.simulator(2)
    obs = simulator.reset([0, 1])
    assert jax.tree.leaves(obs)[0].dtype == dtype
    for i, one in enumerate(simulator._envs):
        expected = jax.tree.map(lambda x: np.asarray(x).astype(dtype), one.last)
        jax.tree.map(np.testing.assert_array_equal, conversion.row(obs, i), expected)


def test_bounds_beyond_float32_are_infinite():
    env = rljax.make(lambda: Spaces(theirs.Box(-1e300, 1e300, (2,), np.float64)))
    assert np.isneginf(env.observation_space.low).all()
    assert np.isposinf(env.observation_space.high).all()


def test_a_discrete_space_that_does_not_start_at_zero_is_shifted():
    env = rljax.make(lambda: Spaces(DICT, theirs.Discrete(2, start=-1)))
    assert env.action_space == spaces.Discrete(2)
    simulator = env.simulator(1)
    obs = simulator.reset([3])
    one = simulator._envs[0]
    assert obs["a"] == one.last["a"] - 5
    np.testing.assert_array_equal(obs["b"][0], one.last["b"])
    simulator.step(np.array([0], np.int32))
    simulator.step(np.array([1], np.int32))
    assert one.given == [-1, 0]
    batch = {"a": np.array([5, 7]), "b": np.zeros((2, 2, 2), np.uint8)}
    np.testing.assert_array_equal(
        conversion.batched(DICT, env.observation_space, batch)["a"], [0, 2]
    )


def test_actions_of_a_float64_box_are_within_its_bounds():
    box = theirs.Box(-0.1, 0.1, (2,), np.float64)
    env = rljax.make(lambda: Spaces(theirs.Discrete(2), box))
    simulator = env.simulator(1)
    simulator.reset([0])
    simulator.step(env.action_space.high[None])  # float32(0.1) is more than 0.1.
    assert simulator._envs[0].given[0].dtype == np.float64


@pytest.mark.parametrize(
    "space",
    [
        theirs.MultiDiscrete([2, 3]),
        theirs.Text(5),
        theirs.Tuple([theirs.Discrete(2)]),
        theirs.Dict({"x": theirs.Text(5)}),
        theirs.Graph(theirs.Discrete(2), None),
    ],
    ids=lambda space: type(space).__name__,
)
def test_observation_spaces_without_counterpart_are_refused(space):
    with pytest.raises(UsageError, match=r"observes .*has no counterpart .*FlattenObservation"):
        rljax.make(lambda: Spaces(space))


@pytest.mark.parametrize(
    "space",
    [theirs.MultiDiscrete([2, 3]), theirs.MultiBinary(2), theirs.Box(0, 3, (2,), np.int64), DICT],
    ids=lambda space: type(space).__name__,
)
def test_action_spaces_without_counterpart_are_refused(space):
    with pytest.raises(UsageError, match=r"acts in .*Discrete or in a Box.*TransformAction"):
        rljax.make(lambda: Spaces(theirs.Discrete(2), space))


def test_integers_that_need_64_bits_are_refused():
    with pytest.raises(UsageError, match=r"32 bits: wrap it so that the bounds are within"):
        rljax.make(lambda: Spaces(theirs.Box(0, 2**40, (1,), np.int64)))


class OtherMode(SyncVectorEnv):
    """A class of one's own that resets in the next step: nobody knows how to reset a part of it."""

    @property
    def unwrapped(self):
        return gymnasium.vector.VectorEnv()


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda size: Scripted(), "takes size: write a function of no arguments"),
        (lambda: 3, "returns a int: return a gymnasium.Env, or take num_envs"),
        (lambda num_envs: Scripted(), "returns a Scripted: a function of num_envs returns a"),
        (lambda num_envs: vector("SameStep", 3), "returns 3 environments for num_envs=1"),
        (
            lambda num_envs: OtherMode([Scripted], autoreset_mode=AutoresetMode.NEXT_STEP),
            'has the autoreset mode AutoresetMode.NEXT_STEP: set metadata["autoreset_mode"]',
        ),
    ],
)
def test_functions_that_make_something_else_are_refused(function, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        rljax.make(function)


def test_environments_of_different_spaces_are_refused():
    sizes = iter([2, 2, 3])
    env = rljax.make(lambda: Spaces(theirs.Discrete(next(sizes))))
    with pytest.raises(UsageError, match="makes environments of different spaces"):
        env.simulator(2)


class NoFinalObs(SyncVectorEnv):
    def step(self, actions):
        *seen, info = super().step(actions)
        return *seen, {}


def test_a_vector_env_that_loses_the_last_observation_is_refused():
    def make(num_envs):
        return NoFinalObs([Scripted] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    simulator = rljax.make(make).simulator(1)
    simulator.reset([0])
    simulator.step(np.zeros(1, np.int32))
    with pytest.raises(UsageError, match=r'there is no info\["final_obs"\]'):
        simulator.step(np.zeros(1, np.int32))


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("gymnasium/CartPol-v1", {}, "env 'gymnasium/CartPol-v1' is not registered; did you mean"),
        ("gymnasium/CartPole-v99", {}, "is not registered; did you mean 'CartPole-v"),
        (
            "gymnasium/nowhere:Foo-v0",
            {},
            "gymnasium/nowhere:Foo-v0 cannot be made: No module named",
        ),
        ("gymnasium/CartPole-v1", {"sise": 3}, "cannot be made with sise: "),
        ("gymnasium/", {}, "env 'gymnasium/' is not known"),
        ("gymnazium/CartPole-v1", {}, "env 'gymnazium/CartPole-v1' is not known; did you mean"),
        (Scripted, {"size": 3}, "write functools.partial(..., size=...)"),
    ],
)
def test_names_and_parameters_that_are_not_known_are_refused(name, params, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        rljax.make(name, **params)


def test_names_are_checked_without_importing_the_suites():
    program = """
import sys
from rljax import envs
for suite in envs.SUITES:
    envs.check_name(f"{suite}/Any-v0")
assert not {"jax", "gymnasium", "envpool", "ale_py", "brax", "jaxmarl", "pgx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("suite", envs.SUITES)
def test_a_package_that_is_missing_is_named_with_its_extra(suite, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    extras = {"jaxmarl": "multiagent", "pettingzoo": "multiagent", "pgx": "games"}
    extra = extras.get(suite, suite)
    with pytest.raises(UsageError, match=re.escape(f"pip install 'rljax-core[{extra}]'")):
        rljax.make(f"{suite}/Pong")


def test_parameters_reach_the_environment():
    simulator = rljax.make("gymnasium/CartPole-v1", max_episode_steps=3).simulator(1)
    simulator.reset([0])
    ends = [simulator.step(np.array([t % 2], np.int32)).truncated[0] for t in range(6)]
    assert ends == [False, False, True] * 2


def test_pictures_are_those_of_the_first_environment():
    simulator = rljax.make(NAME, render_mode="rgb_array").simulator(2)
    simulator.reset([0, 0])
    simulator.step(np.zeros(2, np.int32))
    np.testing.assert_array_equal(simulator.render(), np.full((8, 8, 3), 10, np.uint8))
    blind = rljax.make(NAME).simulator(1)
    with pytest.raises(UsageError, match='cannot be drawn .* make it with "rgb_array"'):
        blind.render()


def test_the_code_of_the_page_runs():
    page, names = pages.ROOT / "docs/simulators.md", {}
    for block in pages.blocks(page):
        if block.language == "python":
            pages.run(block, page, names)
    assert names["steps"].obs.shape == (8, 4)
    assert names["env"].observation_space.shape == (32 + 11 + 2,)
    assert names["over"] and names["played"] > 1


def test_the_page_names_the_options_of_atari_with_their_defaults():
    text = (pages.ROOT / "docs/simulators.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w.,]+) \|", text, re.M))
    defaults = {f.name: f.default for f in fields(Options) if f.name != "render_mode"}
    shown = {k: f"{v:,}" if type(v) is int else str(v).lower() for k, v in defaults.items()}
    assert rows == shown
