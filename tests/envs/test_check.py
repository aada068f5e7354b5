"""Broken environments, one mistake each, and what is said of them."""

import random
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.cli import main
from rljax.envs import probes, spaces

COUNTER = [0]


class Sound:
    """Walks along a line from a random start; terminated at its end, truncated after 9 steps."""

    name = "Sound"
    observation_space = spaces.Box(-1.0, 3.0, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, key):
        place = jax.random.uniform(key, minval=-1.0, maxval=1.0)
        return self.begin(place), place[None]

    def begin(self, place):
        return {"place": place, "time": jnp.int32(0)}

    def step(self, key, state, action):
        place, time = jnp.minimum(state["place"] + 0.5 * action, 3.0), state["time"] + 1
        state = {"place": place, "time": time}
        return state, place[None], self.reward(place), place >= 3.0, time >= 9

    def reward(self, place):
        return place


class GrowingFraction(Sound):
    def step(self, key, state, action):
        state, *rest = super().step(key, state, action)
        return {**state, "time": state["time"] + 0.5}, *rest  # here: dtype


class OtherShape(Sound):
    def step(self, key, state, action):
        state, obs, *rest = super().step(key, state, action)
        return state, jnp.concatenate([obs, obs]), *rest  # here: shape


class ForgetsPart(Sound):
    def step(self, key, state, action):
        state, *rest = super().step(key, state, action)
        return {"place": state["place"]}, *rest  # here: part


class Branches(Sound):
    def reward(self, place):
        if place > 0:  # here: branch
            return 1.0
        return 0.0


class CallsNumPy(Sound):
    def reward(self, place):
        return np.sin(place)  # here: numpy


class Remembers(Sound):
    def step(self, key, state, action):
        self.steps = state["time"]  # here: writes
        return super().step(key, state, action)


class RollsDice(Sound):
    def step(self, key, state, action):
        state, obs, reward, *ends = super().step(key, state, action)
        noise = random.random()  # here: dice
        return state, obs, reward + noise, *ends


class CountsCalls(Sound):
    def reset(self, key):  # here: counts
        COUNTER[0] += 1
        state, obs = super().reset(key)
        return {**state, "place": state["place"] + COUNTER[0]}, obs


class ObsFirst(Sound):
    def reset(self, key):
        state, obs = super().reset(key)
        return obs, state  # here: swapped


class OldGym(Sound):
    def step(self, key, state, action):
        state, obs, reward, done, _ = super().step(key, state, action)
        return state, obs, reward, done  # here: four


class NoKey(Sound):
    def reset(self):  # here: signature
        return super().reset(jax.random.key(0))


class ListOfRewards(Sound):
    def step(self, key, state, action):
        state, obs, reward, *ends = super().step(key, state, action)
        return state, obs, reward[None], *ends  # here: reward


class LeavesSpace(Sound):
    observation_space = spaces.Box(-1.0, 2.0, (1,))

    def step(self, key, state, action):
        return super().step(key, state, action)  # here: outside


class BeginsBelow(Sound):
    observation_space = spaces.Box(-0.25, 3.0, (1,))

    def step(self, key, state, action):
        return super().step(key, state, action)  # here: below


class LeavesDiscrete(Sound):
    observation_space = spaces.Discrete(9)

    def reset(self, key):
        state, _ = super().reset(key)
        return state, state["time"]

    def step(self, key, state, action):
        state, _, *rest = super().step(key, state, action)
        return state, state["time"], *rest  # here: discrete


class Explodes(Sound):
    def step(self, key, state, action):
        state, obs, reward, *ends = super().step(key, state, action)
        return state, obs, reward / (state["place"] < 3.0), *ends  # here: nan


class OneAtATime(Sound):
    def reward(self, place):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(lambda x: x, shape, place)  # here: vmap


class WrongDtype(Sound):
    def reset(self, key):
        state, obs = super().reset(key)
        return state, obs.astype(jnp.int32)  # here: obs dtype


class WrongSpace(Sound):
    observation_space = (1,)


class NoSpace(Sound):
    action_space = property()


ERRORS = [
    (GrowingFraction, "dtype", r"state\['time'\] is int32 after reset and float32 after step, and"),
    (OtherShape, "shape", r"obs has shape \[1\] after reset and \[2\] after step"),
    (ForgetsPart, "part", r"state is built otherwise by step .*: it lacks state\['time'\];"),
    (Branches, "branch", r"step asks for the value of a number .*: use jnp.where"),
    (CallsNumPy, "numpy", "step hands NumPy a number .*: use jax.numpy"),
    (Remembers, "writes", r"step writes self\.steps, .*: put what changes into the state"),
    (RollsDice, "dice", "step is another function each time, .* use jax.random and the key"),
    (CountsCalls, "counts", "reset is another function each time"),
    (ObsFirst, "swapped", "reset returns obs before state: write `return state, obs`"),
    (OldGym, "four", "step returns 4 values: write `return state, obs, reward, terminated, trun"),
    (NoKey, "signature", r"reset: .*; write def reset\(self, key\)"),
    (ListOfRewards, "reward", r"reward has shape \[1\], and should be one number"),
    (LeavesSpace, "outside", r"obs\[0\] was [23](\.\d+)?, outside Box\(1,\) float32 in \[-1, 2\]"),
    (BeginsBelow, "below", r"obs\[0\] was -0\.\d+, outside Box"),
    (LeavesDiscrete, "discrete", r"obs was 9, outside Discrete\(9\): give the space wider bounds"),
    (Explodes, "nan", "reward becomes NaN or infinite"),
    (OneAtATime, "vmap", "step vmapped, raises NotImplementedError"),
    (WrongDtype, "obs dtype", "obs is int32, and its space says float32"),
    (WrongSpace, None, "observation_space is a tuple: write rljax.envs.spaces.Discrete or Box"),
    (NoSpace, None, "NoSpace has no action_space: an environment has name, obs"),
]


def line(mark: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(i for i, text in enumerate(lines, 1) if text.endswith(f"# here: {mark}"))


@pytest.mark.parametrize(("kind", "mark", "said"), ERRORS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_mistake_is_named_with_its_line_and_the_fix(kind, mark, said):
    (found,) = rljax.check_env(kind())
    assert found.is_error and re.match(said, found.sentence), found
    assert "\n" not in str(found)
    if mark:
        file, _, number = found.where.partition(":")
        assert (Path(file).name, int(number)) == (Path(__file__).name, line(mark))


class SameStart(Sound):
    def reset(self, key):  # here: same
        state, obs = super().reset(jax.random.key(0))
        return {**state, "key": key}, obs

    def step(self, key, state, action):
        following, *rest = super().step(key, state, action)
        return {**following, "key": state["key"]}, *rest


class Endless(Sound):
    def step(self, key, state, action):
        *rest, _, _ = super().step(key, state, action)
        return *rest, False, False  # here: endless


class LimitIsDeath(Sound):
    def step(self, key, state, action):
        *rest, _, _ = super().step(key, state, action)
        return *rest, rest[0]["time"] >= 25, False  # here: limit


class LimitIsLimit(LimitIsDeath):
    def step(self, key, state, action):
        *rest, over, _ = super().step(key, state, action)
        return *rest, False, over


class NumbersForEnds(Sound):
    def step(self, key, state, action):
        *rest, terminated, truncated = super().step(key, state, action)
        return *rest, 1.0 * terminated, truncated  # here: ends


class WholeStart(Sound):
    def begin(self, place):
        return {"place": place, "time": jnp.float32(0)}

    def step(self, key, state, action):
        state, *rest = super().step(key, state, action)
        return {**state, "time": state["time"].astype(jnp.int32)}, *rest  # here: whole


WARNINGS = [
    (SameStart, "same", "64 episodes from different keys start the same"),
    (Endless, "endless", "no episode ended in 3,000 steps of random actions: return truncated"),
    (LimitIsDeath, "limit", "every episode is terminated after 25 steps: if that is a time limit"),
    (NumbersForEnds, "ends", "terminated is float32, and all but 0 counts as the end"),
    (WholeStart, "whole", r"state\['time'\] is float32 after reset and int32 after step"),
]


@pytest.mark.parametrize(
    ("kind", "mark", "said"), WARNINGS, ids=lambda x: getattr(x, "__name__", "")
)
def test_what_may_be_meant_is_a_warning(kind, mark, said):
    (found,) = rljax.check_env(kind())
    assert not found.is_error and re.match(said, found.sentence), found
    assert found.where.endswith(f"test_check.py:{line(mark)}")


PROBES = [kind for kind in vars(probes).values() if hasattr(kind, "step")]
NAMES = ["CartPole-v1", "Catch-bsuite", "CliffWalking"]


@pytest.mark.parametrize(
    "env", [Sound, LimitIsLimit, *PROBES, *NAMES], ids=lambda x: getattr(x, "__name__", x)
)
def test_environments_that_are_right_pass(env):
    found = rljax.check_env(env() if callable(env) else rljax.make(env))
    always_the_same = env in (
        probes.ConstantReward,
        probes.DelayedReward,
        probes.LegalActions,
        "CliffWalking",
    )
    assert [f.is_error for f in found] == [False] * always_the_same
    assert all(f.sentence.startswith("64 episodes from different keys") for f in found)


def test_all_probes_are_among_them():
    assert len(PROBES) == 9


MINE = """
from rljax.envs.probes import Recall

class Broken(Recall):
    def step(self, key, state, action):
        state, obs, reward, terminated, truncated = super().step(key, state, action)
        return state, obs, reward, terminated

an_object = Recall()

def with_arguments(size):
    return Recall(size)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_the_command_names_what_is_wrong_and_fails(mine, capsys):
    assert main(["check-env", "mine:Broken"]) == 1
    assert capsys.readouterr().out == (
        "mine.py:7: error: step returns 4 values: write `return state, obs, reward, terminated, "
        "truncated`\n"
    )


def test_the_command_says_that_nothing_was_found(mine, capsys):
    assert main(["check-env", "mine:an_object"]) == 0
    assert capsys.readouterr().out == "Recall: nothing found\n"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("CartPole", "did you mean 'CartPole-v1'"),
        ("nowhere:Env", "module nowhere cannot be imported: No module named 'nowhere'"),
        ("mine:Borken", "mine has no 'Borken'; did you mean 'Broken'?"),
        ("mine:with_arguments", "mine:with_arguments cannot be made: "),
    ],
)
def test_what_is_no_environment_is_one_sentence(mine, what, said, capsys):
    assert main(["check-env", what]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
