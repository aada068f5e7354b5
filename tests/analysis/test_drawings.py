"""What rljax's own environments show: everything where the state says it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ImageColor

import rljax
from rljax.analysis import render
from rljax.analysis.drawings import canvas, games
from rljax.envs.connect_four import ConnectFourState
from rljax.envs.foraging import ForagingState
from rljax.envs.goals import GoalState
from rljax.envs.matrix_games import MatrixState, TwoStepState
from rljax.envs.switch_riddle import RiddleState

KEY = jax.random.key(0)


def draw(env, state, obs=None, total=0.0):
    """One frame of a state."""
    obs = np.zeros(1) if obs is None else obs
    states, observations = jax.tree.map(lambda x: np.asarray(x)[None], (state, obs))
    return render.frames(env, states, observations, np.array([total]))[0]


def pixels(frame, colour, width=320):
    """Rows and columns of the pixels of a colour below the header, left of the legend: [K, 2]."""
    hits = (frame == ImageColor.getrgb(colour)).all(axis=-1)
    hits[: canvas.HEADER] = False
    hits[:, width:] = False
    return np.argwhere(hits)


def middle(frame, colour, width=320):
    return pixels(frame, colour, width).mean(axis=0)


def cell(rows, row, column):
    """The pixel at the middle of a cell of a square board that is as high as the picture."""
    side = 280 // rows
    left = 16 + (280 - side * rows) / 2
    return canvas.HEADER + side * (row + 0.5), left + side * (column + 0.5)


OWN = (
    "ConnectFour",
    "TicTacToeGame",
    "DoorKey5x5",
    "BitFlip",
    "PointReach",
    "Climbing",
    "Penalty",
    "PrisonersDilemma",
    "TwoStep",
    "SwitchRiddle",
    "Foraging8x8-2p-3f",
)


@pytest.mark.parametrize("name", OWN)
def test_moves_are_watched_slowly_and_what_moves_in_a_plane_is_not(name):
    assert name in render.drawable()
    assert render.pace(rljax.make(name)) == (30 if name == "PointReach" else 4)


def test_sizes_that_are_not_registered_are_drawn_too():
    env = rljax.make("DoorKey5x5", size=7)
    frame = draw(env, *env.reset(KEY))
    assert env.name not in render.drawable() and len(pixels(frame, canvas.BLUE)) > 50


def test_the_header_has_the_return_of_each_team():
    env = rljax.make("PrisonersDilemma")
    state, obs = env.reset(KEY)
    one, two = (draw(env, state, obs, total) for total in (0.0, [0.0, 5.0]))
    rows, _ = np.nonzero((one != two).any(-1))
    assert rows.max() < canvas.HEADER


@pytest.mark.parametrize("name", ["ConnectFour", "ConnectFourGame"])
def test_discs_lie_in_their_columns_from_below(name):
    env, board = rljax.make(name), np.zeros((6, 7, 2), bool)
    board[0, 2, 0] = board[1, 6, 1] = True
    frame = draw(env, ConnectFourState(board, np.int32(0)))
    for colour, column, height in ((canvas.BLUE, 2, 0), (canvas.ORANGE, 6, 1)):
        expected = canvas.HEADER + 40 * (5 - height + 0.5), 16 + 40 * (column + 0.5)
        assert middle(frame, colour) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("direction, ahead", enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]))
def test_the_agent_points_where_it_goes_and_shows_its_key(direction, ahead):
    env = rljax.make("DoorKey5x5")
    state, _ = env.reset(KEY)
    state = state._replace(
        position=jnp.array([2, 1]), direction=jnp.int32(direction), key=jnp.array([1, 1])
    )
    frame = draw(env, state, env._observe(state))
    at = np.array(cell(5, 2, 1))
    arrow = pixels(frame, canvas.BLUE)
    assert arrow.mean(axis=0) == pytest.approx(at, abs=8)
    tip = (arrow - at) @ ahead
    assert tip.max() >= 18 and tip.min() >= -16
    assert middle(frame, canvas.YELLOW) == pytest.approx(cell(5, 1, 1), abs=2)
    state = state._replace(has_key=jnp.bool_(True))
    assert middle(draw(env, state, env._observe(state)), canvas.YELLOW) == pytest.approx(at, abs=2)


def test_bits_stand_over_those_of_the_goal_and_wrong_ones_are_marked():
    env = rljax.make("BitFlip", bits=4)
    now, goal = np.array([True, False, True, False]), np.array([True, False, False, True])
    frame = draw(env, GoalState(now, goal, np.int32(1)))
    side, top = 70, canvas.HEADER

    def lit(colour, row):
        found = pixels(frame, colour)
        found = found[(found[:, 0] - top) // side == row]
        return sorted(set(((found[:, 1] - 16) // side).tolist()))

    assert lit(canvas.BLUE, 0) == [0, 2] and lit(canvas.GREEN, 1) == [0, 3]
    assert lit(canvas.VERMILION, 0) == [2, 3] and lit(canvas.VERMILION, 1) == []


def test_the_point_and_its_goal_are_where_they_are():
    env = rljax.make("PointReach")
    frame = draw(env, GoalState(np.array([0.5, 0.0]), np.array([-0.5, 0.5]), np.int32(1)))
    origin = np.array([canvas.HEADER + 142, canvas.WIDTH / 2])
    assert middle(frame, canvas.BLUE) == pytest.approx(origin + (0, 65), abs=2)
    assert middle(frame, canvas.GREEN) == pytest.approx(origin + (-65, -65), abs=2)


def test_players_and_food_stand_in_their_cells():
    env = rljax.make("Foraging8x8-2p-3f")
    players = np.array([[0, 3, 1], [7, 7, 2]])
    food = np.array([[2, 5, 3], [4, 1, 0], [6, 6, 0]])
    frame = draw(env, ForagingState(players, food, np.int32(5), np.int32(2)))
    assert middle(frame, canvas.BLUE) == pytest.approx(cell(8, 0, 3), abs=2)
    assert middle(frame, canvas.ORANGE) == pytest.approx(cell(8, 7, 7), abs=2)
    assert middle(frame, canvas.GREEN) == pytest.approx(cell(8, 2, 5), abs=2)  # one is left


def test_payoffs_are_written_in_full():
    assert games.words(np.array([[[11.0], [-30.0]], [[0.5], [-100.0]]])) == [
        ["11", "-30"],
        ["0.5", "-100"],
    ]
    assert games.words(np.array([[[0.0, 5.0]]])) == [["0, 5"]]


def test_the_joint_action_is_marked_in_its_table():
    env = rljax.make("Climbing")

    def marked(*action):
        frame = draw(env, MatrixState(np.int32(1), np.array(action)))
        return middle(frame, canvas.YELLOW, canvas.WIDTH)

    assert marked(1, 0)[0] - marked(0, 0)[0] == pytest.approx(70, abs=3)
    assert marked(0, 2)[1] - marked(0, 0)[1] == pytest.approx(140, abs=3)
    assert not len(pixels(draw(env, env.reset(KEY)[0]), canvas.YELLOW))


def test_the_second_step_is_marked_in_the_game_it_was_played_in():
    env = rljax.make("TwoStep")

    def frame(place, time, *action):
        return draw(env, TwoStepState(np.int32(place), np.int32(time), np.array(action)))

    def marked(colour, *played):
        return middle(frame(*played), colour, canvas.WIDTH)

    left, right = marked(canvas.BLUE, 1, 1, 0, 0), marked(canvas.BLUE, 2, 1, 1, 0)
    assert right - left == pytest.approx([0, 210], abs=2)
    assert not len(pixels(frame(2, 1, 1, 0), canvas.YELLOW, canvas.WIDTH))
    best, worst = marked(canvas.YELLOW, 2, 2, 1, 1), marked(canvas.YELLOW, 2, 2, 0, 0)
    assert best - worst == pytest.approx([70, 70], abs=3)
    assert marked(canvas.YELLOW, 1, 2, 1, 1) - best == pytest.approx([0, -210], abs=3)


def test_the_light_is_over_the_prisoner_in_the_room():
    env = rljax.make("SwitchRiddle")

    def frame(light):
        been = np.array([True, False, True])
        state = RiddleState(np.bool_(light), np.int32(1), been, np.bool_(False), np.int32(2))
        return draw(env, state)

    row, column = middle(frame(True), canvas.YELLOW)
    below, same = middle(frame(True), canvas.BLUE)
    assert column == pytest.approx(same, abs=2) and below > row
    assert not len(pixels(frame(False), canvas.YELLOW))
    green = set((pixels(frame(True), canvas.GREEN)[:, 1] - 17) // 93)
    assert green == {0, 2}
