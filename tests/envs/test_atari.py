"""Atari: the preprocessing of the field, lives, scores, and time limits."""

import re

import gymnasium
import numpy as np
import pytest

import rljax
from rljax.envs import spaces
from rljax.errors import UsageError

STILL = {"repeat_action_probability": 0.0, "noop_max": 0, "fire_reset": False}

LIMIT = 700  # frames


def played(game, num_steps, num_envs=2, **options):
    env = rljax.make(f"atari/{game}", **options)
    simulator = env.simulator(num_envs)
    first = simulator.reset(range(num_envs))
    actions = np.random.default_rng(0).integers(0, env.action_space.n, (num_steps, num_envs))
    steps = [simulator.step(row.astype(np.int32)) for row in actions]
    simulator.close()
    return first, actions, steps


def column(steps, name):
    return np.stack([getattr(s, name) for s in steps])


def test_observations_are_those_of_gymnasiums_preprocessing():
    first, actions, steps = played("Breakout", 60, 1, **STILL)
    plain = gymnasium.make(
        "ale_py:ALE/Breakout-v5",
        frameskip=1,
        repeat_action_probability=0.0,
        full_action_space=False,
    )
    env = gymnasium.wrappers.AtariPreprocessing(plain, noop_max=0, frame_skip=4, screen_size=84)
    frame, _ = env.reset(seed=0)
    assert first.shape == (1, 84, 84, 4) and first.dtype == np.uint8
    near = {"atol": 1}  # The libraries round grey values differently.
    np.testing.assert_allclose(first[0, :, :, 3].astype(int), frame, **near)
    frames, rewards = [np.zeros_like(frame)] * 3 + [frame], []
    for t, action in enumerate(actions[:, 0]):
        frame, reward, terminated, _, _ = env.step(action)
        assert not terminated
        frames.append(frame)
        rewards.append(reward)
        stack = np.stack(frames[-4:], -1).astype(int)
        np.testing.assert_allclose(steps[t].obs[0].astype(int), stack, **near)
    np.testing.assert_array_equal(column(steps, "score")[:, 0], rewards)


@pytest.fixture(scope="module")
def lives():
    return played("Breakout", 500, 3, episodic_life=True, max_frames=LIMIT)


def test_a_lost_life_is_terminated_and_the_game_goes_on(lives):
    _, _, steps = lives
    terminated, over = column(steps, "terminated"), column(steps, "over")
    for i in range(3):
        lost, length, games = 0, 0, []
        for t in range(len(steps)):
            lost, length = lost + terminated[t, i], length + 1
            if over[t, i]:
                games.append((lost, length))
                lost = length = 0
            else:
                np.testing.assert_array_equal(steps[t].obs[i], steps[t].next_obs[i])
        assert games and all(lost == 5 or length == LIMIT // 4 for lost, length in games)
    assert terminated[over].any() and terminated[~over].any()


def test_a_game_that_lasts_too_long_is_truncated(lives):
    _, _, steps = lives
    over, truncated = column(steps, "over"), column(steps, "truncated")
    assert truncated.any() and not (truncated & ~over).any()
    assert not (truncated & column(steps, "terminated")).any()
    ends = np.flatnonzero(truncated[:, 0])
    begun = np.flatnonzero(over[: ends[0], 0])
    assert ends[0] - (begun[-1] if len(begun) else -1) == LIMIT // 4


def test_without_episodic_life_only_a_game_is_terminated():
    _, _, steps = played("Breakout", 300, 3)
    np.testing.assert_array_equal(column(steps, "terminated"), column(steps, "over"))
    assert column(steps, "over").any() and not column(steps, "truncated").any()


def test_the_last_observation_is_of_the_game_that_ended(lives):
    _, _, steps = lives
    ends = [(t, i) for t, s in enumerate(steps) for i in np.flatnonzero(s.over)]
    for t, i in ends:
        # Frames move up by one; the next game begins with one frame.
        last, before = steps[t].next_obs[i], steps[t - 1].obs[i]
        np.testing.assert_array_equal(last[..., :3], before[..., 1:])
        assert np.mean(last[..., 3] != before[..., 3]) < 0.05  # only what moves
        assert not steps[t].obs[i][..., :3].any() and steps[t].obs[i][..., 3].any()


def test_rewards_may_be_clipped_and_the_score_is_not():
    clipped = played("MsPacman", 150, clip_reward=True)[2]
    plain = played("MsPacman", 150)[2]
    score = column(clipped, "score")
    assert score.max() >= 10 and score.dtype == np.float32
    np.testing.assert_array_equal(column(clipped, "reward"), np.sign(score))
    np.testing.assert_array_equal(column(plain, "reward"), score)
    np.testing.assert_array_equal(column(plain, "score"), score)


def test_actions_are_sticky_by_default():
    still = played("Breakout", 100, 1, **STILL)[2]
    sticky = played("Breakout", 100, 1, **{**STILL, "repeat_action_probability": 0.25})[2]
    default = played("Breakout", 100, 1, noop_max=0, fire_reset=False)[2]
    assert not np.array_equal(column(still, "obs"), column(sticky, "obs"))
    np.testing.assert_array_equal(column(default, "obs"), column(sticky, "obs"))


def test_games_begin_after_a_random_time():
    first = played("Breakout", 0, 4)[0]
    assert len({frame.tobytes() for frame in first}) > 1
    still = played("Breakout", 0, 4, **STILL)[0]
    assert len({frame.tobytes() for frame in still}) == 1


def test_spaces_follow_the_options():
    env = rljax.make("atari/Pong")
    assert spaces.describe(env.observation_space) == "Box(84, 84, 4) uint8 in [0, 255]"
    assert env.action_space == spaces.Discrete(6)
    env = rljax.make("atari/MontezumaRevenge", full_action_space=True, stack_num=2)
    assert env.observation_space.shape == (84, 84, 2)
    assert env.action_space == spaces.Discrete(18)


def test_a_picture_is_what_the_agent_sees_enlarged():
    simulator = rljax.make("atari/Pong").simulator(2)
    first = simulator.reset([0, 1])
    picture = simulator.render()
    assert picture.shape == (336, 336, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[::4, ::4, 1], first[0, :, :, 3])
    obs = simulator.step(np.array([2, 3], np.int32)).obs
    np.testing.assert_array_equal(simulator.render()[3::4, 3::4, 0], obs[0, :, :, 3])


@pytest.mark.parametrize(
    ("game", "options", "sentence"),
    [
        ("Pnog", {}, "env 'atari/Pnog' is not known; did you mean 'Pong'?"),
        ("Pong", {"episodic": True}, "has no option 'episodic'; did you mean 'episodic_life'?"),
    ],
)
def test_games_and_options_that_are_not_known_are_refused(game, options, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        rljax.make(f"atari/{game}", **options)
