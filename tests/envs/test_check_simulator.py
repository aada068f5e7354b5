"""Broken simulators, one mistake each, and what is said of them."""

import re
import sys

import numpy as np
import pytest
from scripted import Scripted

import rljax
from rljax.cli import main
from rljax.envs import spaces
from rljax.envs.simulators import HostEnvironment, Steps

SPACE = spaces.Dict({"place": spaces.Box(-1.0, 30.0, (1,)), "time": spaces.Discrete(20)})


class Sound:
    """Walks from a random start; terminated at 6, truncated after 9 steps."""

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.closed = False

    def reset(self, seeds):
        self.rngs = [np.random.default_rng(seed) for seed in seeds]
        self.place, self.time = np.zeros(self.num_envs), np.zeros(self.num_envs, int)
        self.begin(range(self.num_envs))
        return self.obs()

    def begin(self, which):
        for i in which:
            self.place[i], self.time[i] = self.rngs[i].uniform(-1, 1), 0

    def obs(self):
        return {"place": self.place[:, None].astype(np.float32), "time": self.time.astype(np.int32)}

    def step(self, actions):
        self.place += actions
        self.time += 1
        last = self.obs()
        terminated, truncated = self.place >= 6, self.time >= 9
        over = terminated | truncated
        self.begin(np.flatnonzero(over))
        reward = self.place.astype(np.float32)
        return Steps(
            self.obs(), reward, terminated, truncated & ~terminated, last, reward.copy(), over
        )

    def close(self):
        self.closed = True


class OtherShape(Sound):
    def obs(self):
        return {**super().obs(), "place": self.place.astype(np.float32)}


class OtherDtype(Sound):
    def obs(self):
        return {**super().obs(), "place": self.place[:, None].copy()}


class LosesPart(Sound):
    def obs(self):
        return {"time": self.time.astype(np.int32)}


class Narrow(Sound):
    def obs(self):
        return {**super().obs(), "time": self.time.astype(np.int32) + 15}


class BecomesNaN(Sound):
    def obs(self):
        place = np.where(self.time == 8, np.nan, self.place).astype(np.float32)
        return {**super().obs(), "place": place[:, None]}


class Changed(Sound):
    """Sound but for what `change` makes of its steps."""

    def step(self, actions):
        steps = super().step(actions)
        return steps._replace(**self.change(steps))


class NoSteps(Sound):
    def step(self, actions):
        return tuple(super().step(actions))


class FloatReward(Changed):
    def change(self, steps):
        return {"reward": steps.reward.astype(np.float64)}


class RewardOfAll(Changed):
    def change(self, steps):
        return {"reward": steps.reward.sum()}


class IntegerEnds(Changed):
    def change(self, steps):
        return {"terminated": steps.terminated.astype(np.int32)}


class InfiniteReward(Changed):
    def change(self, steps):
        return {"score": np.where(steps.over, np.float32(np.inf), steps.score)}


class BothEnds(Changed):
    def change(self, steps):
        return {"terminated": steps.over, "truncated": steps.over.copy()}


class OverAlone(Changed):
    def change(self, steps):
        return {"over": np.ones_like(steps.over)}


class LastIsFirst(Changed):
    def change(self, steps):
        return {"next_obs": steps.obs}


class NextStepReset(Changed):
    """Hands over the observation before the reset, as some suites do, and resets later."""

    def change(self, steps):
        place = steps.obs["place"] + np.float32(0.5)
        return {"next_obs": {**steps.obs, "place": place}}


class WritesAgain(Sound):
    def reset(self, seeds):
        self.shared = np.zeros(self.num_envs, np.float32)
        return super().reset(seeds)

    def step(self, actions):
        steps = super().step(actions)
        self.shared[:] = steps.reward
        return steps._replace(score=self.shared)


class Unseeded(Sound):
    def reset(self, seeds):
        return super().reset([None] * self.num_envs)


class UnseededLater(Sound):
    def step(self, actions):
        steps = super().step(actions)
        return steps._replace(reward=steps.reward + np.random.uniform(size=4).astype(np.float32))


class SameSeed(Sound):
    def reset(self, seeds):
        return super().reset([0] * self.num_envs)


class NeverEnds(Sound):
    def step(self, actions):
        last = super().step(0 * actions)
        none = np.zeros(self.num_envs, bool)
        self.time[:] = 0
        return last._replace(
            terminated=none, truncated=none.copy(), over=none.copy(), next_obs=last.obs
        )


class Raises(Sound):
    def step(self, actions):
        raise KeyError("position")


class RaisesWhenMade(Sound):
    def __init__(self, num_envs):
        if num_envs > 1:
            raise OSError("no memory")


def described(kind):
    return HostEnvironment(kind.__name__, SPACE, spaces.Discrete(3), kind)


MISTAKES = [
    (
        OtherShape,
        "error: obs after reset['place'] is float32 [4], and its space says float32 [4, 1]",
    ),
    (OtherDtype, "error: obs after reset['place'] is float64 [4, 1], and its space says float32"),
    (LosesPart, "error: obs after reset['place'] is a NoneType, and its space says float32 [4, 1]"),
    (Narrow, "error: obs['time'] was 24, outside Discrete(20): give the space wider bounds"),
    (BecomesNaN, "error: obs['place'] becomes NaN or infinite under random actions"),
    (NoSteps, "error: step returns a tuple: return rljax.envs.simulators.Steps"),
    (FloatReward, "error: reward is float64 [4], and should be float32 [4], one for each"),
    (RewardOfAll, "error: reward is a float32, and should be float32 [4]"),
    (IntegerEnds, "error: terminated is int32 [4], and should be bool [4]"),
    (InfiniteReward, "error: score becomes NaN or infinite under random actions"),
    (BothEnds, "error: a step is terminated and truncated: where both are meant, it is terminated"),
    (OverAlone, "error: an episode is over that is neither terminated nor truncated"),
    (LastIsFirst, "warning: next_obs is always the first observation of the next episode"),
    (NextStepReset, "error: obs['place'] and next_obs['place'] differ where no episode ended"),
    (WritesAgain, "error: score of step 0 changed after it was handed over: give an array of"),
    (Unseeded, "error: two resets with the same seeds give different observations"),
    (UnseededLater, "error: reward of step 0 differs after two resets with the same seeds"),
    (SameSeed, "warning: episodes from different seeds are the same: if that is not meant"),
    (NeverEnds, "warning: no episode ended in 2,000 steps of random actions: truncate at a time"),
    (Raises, "error: step raises KeyError: 'position'"),
    (RaisesWhenMade, "error: making 4 environments raises OSError: no memory"),
]


@pytest.mark.parametrize(("kind", "sentence"), MISTAKES, ids=lambda x: getattr(x, "__name__", ""))
def test_a_mistake_is_named(kind, sentence):
    found = rljax.check_env(described(kind))
    assert re.match(re.escape(sentence), str(found[0]))
    assert len({finding.sentence for finding in found}) == len(found) <= 2


def test_a_sound_simulator_is_left_alone_and_closed():
    made = []

    def make(num_envs):
        made.append(Sound(num_envs))
        return made[-1]

    env = HostEnvironment("Sound", SPACE, spaces.Discrete(3), make)
    assert rljax.check_env(env) == []
    assert [(s.num_envs, s.closed) for s in made] == [(4, True)]


@pytest.mark.parametrize(
    "name",
    [
        "gymnasium/CartPole-v1",
        pytest.param("envpool/Pendulum-v1", marks=pytest.mark.long),
        pytest.param("atari/Freeway", marks=pytest.mark.long),
    ],
)
def test_simulators_of_the_suites_are_sound(name):
    small = {"atari/Freeway": {"max_frames": 100}}.get(name, {})
    assert rljax.check_env(rljax.make(name, **small)) == []


def test_on_the_command_line_by_name(capsys):
    assert main(["check-env", "gymnasium/scripted:Scripted-v0"]) == 0
    assert capsys.readouterr().out == "gymnasium/scripted:Scripted-v0: nothing found\n"


@pytest.mark.parametrize(
    ("member", "name"), [("single", "single"), ("vector", "vector"), ("Scripted", "Scripted")]
)
def test_on_the_command_line_by_a_function_of_ones_own(member, name, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_simulators.py").write_text(
        "from gymnasium.vector import SyncVectorEnv\n"
        "from scripted import Copying, Scripted\n"
        "def single():\n    return Scripted()\n"
        "def vector(num_envs):\n    return SyncVectorEnv([Copying] * num_envs)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_simulators", raising=False)
    assert main(["check-env", f"own_simulators:{member}"]) == 0
    assert capsys.readouterr().out == f"{name}: nothing found\n"


def test_a_broken_one_fails_on_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_simulators.py").write_text(
        "from scripted import Scripted\n"
        "class Broken(Scripted):\n"
        "    def step(self, action):\n        raise KeyError('position')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["check-env", "broken_simulators:Broken"]) == 1
    assert capsys.readouterr().out == "error: step raises KeyError: 'position'\n"
    assert issubclass(sys.modules["broken_simulators"].Broken, Scripted)
