"""EnvPool's environments as simulators, compared with EnvPool stepped by hand."""

import pickle
import re

import envpool
import numpy as np
import pytest

import rljax
from rljax.envs import spaces
from rljax.errors import UsageError

SEEDS = [3, 5, 8]
BREAKOUT = {"episodic_life": True, "reward_clip": True, "max_episode_steps": 160}


def by_hand(id, actions, **options):
    """What each environment went through, EnvPool's own steps for resets left out: lists of rows.

    Each environment is in a pool of its own, so that none waits for another's reset.
    """
    rows = []
    for seed, column in zip(SEEDS, actions.T, strict=True):
        pool = envpool.make(id, env_type="gymnasium", num_envs=1, seed=[seed], **options)
        obs, own = pool.reset()[0][0], []
        for action in column:
            given = np.array([action], np.int32)
            last, reward, terminated, truncated, info = pool.step(given)
            row = {"terminated": terminated[0], "truncated": truncated[0], "reward": reward[0]}
            following = last[0]
            if terminated[0] or truncated[0]:
                following = pool.step(given)[0][0]
            own.append({**row, "before": obs, "next_obs": last[0], "obs": following, "info": info})
            obs = following
        rows.append(own)
    return rows


def simulated(simulator, actions):
    first = simulator.reset(SEEDS)
    return first, [simulator.step(row) for row in actions]


def test_cart_pole_is_what_it_is_by_hand():
    actions = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(np.int32)
    expected = by_hand("CartPole-v1", actions, max_episode_steps=15)
    env = rljax.make("envpool/CartPole-v1", max_episode_steps=15)
    assert spaces.describe(env.observation_space) == "Box(4,) float32"
    assert env.action_space == spaces.Discrete(2)
    simulator = pickle.loads(pickle.dumps(env.simulator))(3)
    for _ in range(2):  # A reset with seeds begins anew.
        first, steps = simulated(simulator, actions)
        ends = {"terminated": 0, "truncated": 0}
        for i, own in enumerate(expected):
            np.testing.assert_array_equal(first[i], own[0]["before"])
            for given, row in zip(steps, own, strict=True):
                for name in ("obs", "next_obs", "reward", "terminated", "truncated"):
                    np.testing.assert_array_equal(getattr(given, name)[i], row[name])
                assert given.score[i] == 1.0
                assert given.over[i] == (row["terminated"] or row["truncated"])
                ends = {name: ends[name] + row[name] for name in ends}
        assert min(ends.values()) >= 2, ends
    simulator.close()


@pytest.fixture(scope="module")
def breakout():
    actions = np.random.default_rng(0).integers(0, 4, (300, 3)).astype(np.int32)
    simulator = rljax.make("envpool/Breakout-v5", **BREAKOUT).simulator(3)
    first, steps = simulated(simulator, actions)
    simulator.close()
    return first, steps, by_hand("Breakout-v5", actions, **BREAKOUT)


def test_breakout_is_what_it_is_by_hand_with_channels_last(breakout):
    first, steps, expected = breakout
    assert first.shape == (3, 84, 84, 4) and first.dtype == np.uint8
    assert first.flags.c_contiguous
    for i, own in enumerate(expected):
        np.testing.assert_array_equal(first[i], own[0]["before"].transpose(1, 2, 0))
        for given, row in zip(steps, own, strict=True):
            for name in ("obs", "next_obs"):
                np.testing.assert_array_equal(getattr(given, name)[i], row[name].transpose(1, 2, 0))
            for name in ("reward", "terminated", "truncated"):
                assert getattr(given, name)[i] == row[name]


def test_a_game_of_breakout_is_over_when_all_lives_are_lost_or_time_is_up(breakout):
    _, steps, expected = breakout
    seen = {"life": 0, "game": 0, "time": 0}
    for i, own in enumerate(expected):
        for given, row in zip(steps, own, strict=True):
            lives = row["info"]["lives"][0]
            life_lost = row["terminated"] and lives > 0
            seen["life"] += life_lost
            seen["game"] += row["terminated"] and lives == 0
            seen["time"] += row["truncated"]
            assert given.over[i] == ((row["terminated"] or row["truncated"]) and not life_lost)
    assert all(seen.values()), seen


def test_the_score_is_not_clipped():
    env = rljax.make("envpool/MsPacman-v5", reward_clip=True)
    simulator = env.simulator(2)
    simulator.reset([0, 1])
    actions = np.full(2, 1, np.int32)  # Up: there are dots on the way, of 10 points each.
    steps = [simulator.step(np.array([t % 9] * 2, np.int32) if t else actions) for t in range(150)]
    score, reward = (np.stack([getattr(s, name) for s in steps]) for name in ("score", "reward"))
    assert set(np.unique(reward)) <= {-1.0, 0.0, 1.0} and score.max() >= 10
    np.testing.assert_array_equal(np.sign(score), reward)
    simulator.close()


def test_parts_of_an_observation_have_names():
    env = rljax.make("envpool/MiniGrid-Empty-5x5-v0")
    parts = env.observation_space.spaces
    assert parts["direction"] == spaces.Discrete(4)
    assert parts["image"].shape == (7, 7, 3)  # They are last already.
    obs = env.simulator(2).reset([0, 1])
    assert obs["image"].shape == (2, 7, 7, 3) and obs["direction"].dtype == np.int32


def test_mujoco_is_in_float32_and_has_no_bounds():
    env = rljax.make("envpool/CheetahRun-v1")
    position = env.observation_space.spaces["position"]
    assert position.dtype == np.float32 and np.isneginf(position.low).all()
    simulator = env.simulator(2)
    assert simulator.reset([0, 1])["position"].dtype == np.float32
    steps = simulator.step(np.zeros((2, 6), np.float32))
    assert steps.obs["velocity"].shape == (2, 9)


def test_pictures_are_the_simulators_own():
    simulator = rljax.make("envpool/Pong-v5", render_mode="rgb_array").simulator(2)
    simulator.reset([0, 1])
    picture = simulator.render()
    assert picture.shape == (210, 160, 3) and picture.dtype == np.uint8 and picture.any()
    blind = rljax.make("envpool/Pong-v5").simulator(1)
    blind.reset([0])
    with pytest.raises(UsageError, match='make it with "rgb_array"'):
        blind.render()


@pytest.mark.parametrize(
    ("id", "options", "sentence"),
    [
        ("Pnog-v5", {}, "env 'envpool/Pnog-v5' is not registered; did you mean 'Pong-v5'?"),
        ("Pong-v5", {"stak_num": 3}, "has no option 'stak_num'; did you mean 'stack_num'?"),
        ("Pong-v5", {"stack_num": "x"}, "an option has a value of the wrong type"),
        ("Pong-v5", {"seed": 1}, "cannot be made with seed: the simulator sets it itself"),
        ("Pong-v5", {"batch_size": 1}, "cannot be made with batch_size"),
    ],
)
def test_names_and_options_that_are_not_known_are_refused(id, options, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        rljax.make(f"envpool/{id}", **options)
