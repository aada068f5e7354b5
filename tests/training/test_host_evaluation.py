"""Full episodes in simulators of the host: returns to the number, seeds, carries, and a film."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import rljax
from rljax.cli import main
from rljax.envs import spaces
from rljax.envs.simulators import HostEnvironment, Steps
from rljax.errors import UsageError
from rljax.experiments.checkpoints import Checkpoints
from rljax.experiments.config import resolve
from rljax.experiments.directory import create
from rljax.training import host_evaluation
from rljax.training.evaluation import evaluate
from rljax.types import Agent, Learner, State

LIFE = 3  # steps
MADE = []


class Lives:
    """A game has 1 to 4 lives of 3 steps each, by its seed; the loss of each is terminated.

    A reward is the sign of the action, and the score is the action. The observation is the time.
    """

    def __init__(self, num_envs):
        self.num_envs, self.closed = num_envs, False
        MADE.append(self)

    def reset(self, seeds):
        self.seeds = list(seeds)
        self.lives = np.array([1 + seed % 4 for seed in seeds])
        self.time = np.zeros(self.num_envs, np.int32)
        return self.time.copy()

    def step(self, actions):
        assert actions.shape == (self.num_envs,)
        self.time += 1
        last = self.time.copy()
        terminated, over = last % LIFE == 0, last == LIFE * self.lives
        self.time[over] = 0
        score = actions.astype(np.float32)
        none = np.zeros(self.num_envs, bool)
        return Steps(self.time.copy(), np.sign(score), terminated, none, last, score, over)

    def render(self):
        return np.full((4, 4, 3), self.time[0], np.uint8)

    def close(self):
        self.closed = True


def act(state, obs, carry, key):
    """A parameter plus the steps since the carry began, plus noise."""
    noise = 0.0 if key is None else jax.random.normal(key, obs.shape)
    return state.learner.params + carry + noise, carry + 1


def never(*_):
    raise AssertionError("evaluation neither starts nor trains an agent")


env = HostEnvironment("Lives", spaces.Discrete(13), spaces.Box(-np.inf, np.inf, ()), Lives)
agent = Agent(env, None, never, never, never, never, act, jnp.zeros, 1, 1)


def state(params) -> State:
    params = jnp.asarray(params, jnp.float32)
    return State(jnp.zeros(params.shape, jnp.int32), None, None, Learner(params, ()), None)


def totals(parameter, lives):
    """Each life is played with a carry of its own: parameter + 0, 1, 2."""
    return np.asarray(lives) * (LIFE * parameter + LIFE * (LIFE - 1) / 2)


def test_each_environment_plays_one_whole_game_and_its_score_counts():
    found = evaluate(agent, state(5.0), jax.random.key(0), num_episodes=32)
    lives = np.array([1 + seed % 4 for seed in MADE[-1].seeds])
    assert set(lives) == {1, 2, 3, 4}
    np.testing.assert_array_equal(found.lengths, LIFE * lives)
    np.testing.assert_array_equal(found.returns, totals(5.0, lives))
    assert found.finished.all() and found.succeeded is None
    assert found.returns.dtype == np.float32 and found.lengths.dtype == np.int32
    assert MADE[-1].closed and MADE[-1].num_envs == 32
    assert found.summary()["mean"] == totals(5.0, lives).mean()


def test_seeds_follow_the_key():
    seeds = []
    for key in (0, 0, 1):
        evaluate(agent, state(0.0), jax.random.key(key), num_episodes=8)
        seeds.append(MADE[-1].seeds)
    assert seeds[0] == seeds[1] != seeds[2]
    assert len(set(seeds[0])) == 8


def test_actions_are_greedy_or_samples():
    greedy, sampled, again = (
        evaluate(agent, state(0.0), jax.random.key(0), 8, deterministic=deterministic)
        for deterministic in (True, False, False)
    )
    lives = greedy.lengths // LIFE
    np.testing.assert_array_equal(greedy.returns, totals(0.0, lives))
    assert (np.abs(sampled.returns - greedy.returns) > 1e-3).all()
    np.testing.assert_array_equal(sampled.returns, again.returns)


def test_a_game_that_does_not_end_is_cut_off():
    found = evaluate(agent, state(0.0), jax.random.key(0), num_episodes=32, max_steps=4)
    np.testing.assert_array_equal(found.lengths, np.where(found.finished, LIFE, 4))
    assert 0 < found.finished.sum() < 32
    assert found.summary()["unfinished"] == 32 - found.finished.sum()


def test_the_simulator_is_closed_when_it_fails(monkeypatch):
    monkeypatch.setattr(Lives, "step", never)
    with pytest.raises(AssertionError, match="neither"):
        evaluate(agent, state(0.0), jax.random.key(0), num_episodes=2)
    assert MADE[-1].closed


def test_a_film_shows_what_each_action_was_chosen_on():
    film = host_evaluation.film(agent, state(1.0), Lives(1), seed=1, max_steps=100)
    assert [int(frame[0, 0, 0]) for frame in film.frames] == [0, 1, 2, 3, 4, 5]
    assert film.total == totals(1.0, 2)
    film = host_evaluation.film(agent, state(1.0), Lives(1), seed=1, max_steps=4)
    assert len(film.frames) == 4 and film.total == 1 + 2 + 3 + 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one checkpoint, as training would have left it."""
    path = tmp_path_factory.mktemp("runs") / "scripted"
    config = resolve(
        {
            "env": "gymnasium/scripted:Scripted-v0",
            "agent": "ppo",
            "total_env_steps": 64,
            "structure.num_envs": 4,
            "structure.rollout_length": 8,
        },
        {},
    )
    directory = create(path, config, [])
    state = config.agent().init(jax.random.key(0))
    checkpoints = Checkpoints(directory.checkpoints, keep=1)
    checkpoints.save(state)
    checkpoints.close()
    return path


@pytest.mark.long
def test_eval_on_the_command_line(run, capsys):
    assert main(["eval", str(run), "--episodes", "4"]) == 0
    assert "over 4 episodes" in capsys.readouterr().out


@pytest.mark.long
def test_play_on_the_command_line_draws_the_simulators_pictures(run, tmp_path, capsys):
    out = tmp_path / "play.gif"
    assert main(["play", str(run), "--out", str(out)]) == 0
    assert re.search(r"2 steps, return 3\d$", capsys.readouterr().out)  # 10, 20 and the actions
    with Image.open(out) as gif:
        assert (gif.size, gif.n_frames) == ((8, 8), 2)


def test_what_cannot_be_drawn_says_so():
    blind = rljax.make("gymnasium/scripted:Scripted-v0").simulator(1)
    with pytest.raises(UsageError, match="render_mode"):
        host_evaluation.film(agent, state(0.0), blind, seed=0, max_steps=1)
