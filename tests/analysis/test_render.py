"""Frames show what the state says, in the right place and with the right sign."""

import subprocess
import sys
from types import SimpleNamespace

import gymnax
import jax
import numpy as np
import pytest
from PIL import Image, ImageColor

import rljax
from rljax.analysis import render
from rljax.analysis.drawings import canvas
from rljax.envs import GRID_WORLDS, GYMNAX, PARTICLES
from rljax.envs.grid_world import GridState, GridWorld
from rljax.errors import RunError

SHAPE = (canvas.HEIGHT, canvas.WIDTH, 3)
CLASSIC = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
)
MINATAR = tuple(
    f"{game}-MinAtar" for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
)


def resets(name, count):
    """`count` first states and observations of a gymnax environment, as NumPy [count, ...]."""
    env, params = gymnax.make(name)
    reset = jax.jit(env.reset_env)
    pairs = [reset(jax.random.key(seed), params) for seed in range(count)]
    observations, states = jax.tree.map(lambda *leaves: np.stack(leaves), *pairs)
    return env, states, observations


def draw(name, observation=None, *, step=0, total=0.0, **fields):
    """One frame of a hand-made state."""
    states = SimpleNamespace(**{k: np.array([v]) for k, v in (fields | {"time": step}).items()})
    observations = np.zeros((1, 1)) if observation is None else observation[None]
    return render.frames(SimpleNamespace(name=name), states, observations, np.array([total]))[0]


def stand(env, *positions):
    """Frames of a grid world with the agent in those cells, one after the other."""
    count = len(positions)
    states = GridState(np.array(positions, np.int32), np.arange(count, dtype=np.int32))
    return render.frames(env, states, states.position, np.zeros(count))


def where(frame, colour):
    """Rows and columns of the pixels of `colour` below the header."""
    hits = (frame == ImageColor.getrgb(colour)).all(axis=-1)
    hits[: canvas.HEADER] = False
    assert hits.any()
    return np.nonzero(hits)


def centre(frame, colour):
    """Mean row and column of the pixels of `colour`."""
    return tuple(float(axis.mean()) for axis in where(frame, colour))


def cell_centres(rows, columns):
    """Pixel rows and columns at the middle of the cells of a board: beside its legend, or above."""
    wide = columns > 2 * rows
    room, top = (448, 81) if wide else (280, canvas.HEADER)  # 81 where the legend is one line
    size = room // max(rows, columns)
    left = 16 + (room - size * columns) / 2
    y = top + size * (np.arange(rows) + 0.5)
    return np.ix_(y.astype(int), (left + size * (np.arange(columns) + 0.5)).astype(int))


def test_every_classic_control_and_minatar_environment_is_drawable():
    assert set(CLASSIC + MINATAR) <= set(render.drawable())


@pytest.mark.parametrize("name", sorted(set(render.drawable()) & set(GYMNAX)))
def test_gymnax_states_become_frames(name):
    _, states, observations = resets(name, 3)
    states = states.replace(time=np.arange(3))
    frames = render.frames(SimpleNamespace(name=name), states, observations, np.arange(3.0))
    assert len(frames) == 3
    for frame in frames:
        assert frame.shape == SHAPE
        assert frame.dtype == np.uint8
        assert len(Image.fromarray(frame[canvas.HEADER :]).getcolors(1 << 16)) > 3
    assert (frames[0][: canvas.HEADER] != frames[2][: canvas.HEADER]).any()


def test_the_header_shows_the_step_and_the_return():
    at_rest = {"x": 0.0, "theta": 0.0}
    plain = draw("CartPole-v1", **at_rest)
    for changed in ({"step": 7}, {"total": 12.5}):
        other = draw("CartPole-v1", **at_rest, **changed)
        rows, _ = np.nonzero((plain != other).any(axis=-1))
        assert rows.size > 0
        assert rows.max() < canvas.HEADER
    assert (plain == draw("CartPole-v1", **at_rest, total=-1e-9)).all()


def test_the_cart_moves_right_as_x_grows():
    columns = [
        centre(draw("CartPole-v1", x=x, theta=0.0), canvas.INK)[1] for x in (-2.4, -0.5, 0.0, 2.4)
    ]
    assert np.all(np.diff(columns) > 20)
    assert columns[2] == pytest.approx(canvas.WIDTH / 2, abs=1)
    assert columns[3] - columns[0] == pytest.approx(4.8 * 88, abs=2)


@pytest.mark.parametrize("theta", [-0.2, 0.2])
def test_the_pole_leans_to_the_side_of_its_angle(theta):
    frame = draw("CartPole-v1", x=0.5, theta=theta)
    rows, columns = where(frame, canvas.ORANGE)
    tip = columns[rows == rows.min()].mean()
    _, axle = centre(frame, canvas.BLUE)
    assert tip - axle == pytest.approx(88 * np.sin(theta), abs=3)


def test_a_push_to_the_right_moves_the_cart_right_and_the_pole_left():
    env, params = gymnax.make("CartPole-v1")
    _, state = env.reset_env(jax.random.key(0), params)
    state = state.replace(x=0.0, x_dot=0.0, theta=0.0, theta_dot=0.0)
    for _ in range(8):
        _, state, *_ = env.step_env(jax.random.key(0), state, 1, params)
    frame = draw("CartPole-v1", x=float(state.x), theta=float(state.theta))
    _, cart = centre(frame, canvas.INK)
    assert cart > canvas.WIDTH / 2
    assert centre(frame, canvas.ORANGE)[1] < cart


@pytest.mark.parametrize(
    "first, second, above",
    [(0.0, 0.0, False), (np.pi, 0.0, True), (2.5, 0.4, True), (np.pi / 2, np.pi / 3, False)],
)
def test_the_acrobot_crosses_the_line_when_its_episode_ends(first, second, above):
    env, params = gymnax.make("Acrobot-v1")
    state = SimpleNamespace(joint_angle1=first, joint_angle2=second)
    assert bool(env.is_terminated(state, params)) == above
    frame = draw("Acrobot-v1", joint_angle1=first, joint_angle2=second)
    line, _ = np.nonzero((frame[:, -20:-10] == ImageColor.getrgb(canvas.GREY)).all(axis=-1))
    line = line[line > canvas.HEADER].mean()
    rows, _ = where(frame, canvas.SKY)
    # The rod's end is round: its tip is half of its width, about 7 pixels, from the edge.
    assert (rows.min() + 7 < line) == above


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_acrobot_swings_to_the_side_of_its_angles(sign):
    frame = draw("Acrobot-v1", joint_angle1=sign * 0.5, joint_angle2=sign * 0.5)
    first, second = (centre(frame, colour)[1] for colour in (canvas.BLUE, canvas.SKY))
    assert sign * (first - canvas.WIDTH / 2) > 5
    assert sign * (second - first) > 5


@pytest.mark.parametrize("name", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_the_car_follows_the_mountain(name):
    positions = np.array([-1.2, -0.8, -np.pi / 6, 0.0, 0.6])
    cars = np.array([centre(draw(name, position=p), canvas.BLUE) for p in positions])
    assert np.all(np.diff(cars[:, 1]) > 40)
    assert cars[2, 0] == cars[:, 0].max()
    height = (np.sin(3 * positions) * 0.45 + 0.55) * 240
    assert canvas.HEIGHT - height - cars[:, 0] == pytest.approx(np.full(5, 13), abs=7)


@pytest.mark.parametrize("position, sign", [(-1.0, 1), (0.0, -1)])
def test_the_car_tilts_with_the_slope(position, sign):
    rows, columns = where(draw("MountainCar-v0", position=position), canvas.BLUE)
    assert sign * np.corrcoef(rows, columns)[0, 1] > 0.5


@pytest.mark.parametrize("name", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_the_flag_stands_at_the_goal(name):
    _, params = gymnax.make(name)
    _, flag = where(draw(name, position=-0.5), canvas.ORANGE)
    _, lowest = centre(draw(name, position=-np.pi / 6), canvas.BLUE)
    assert flag.min() - lowest == pytest.approx(240 * (params.goal_position + np.pi / 6), abs=3)


@pytest.mark.parametrize(
    "theta, down, right", [(0.0, -1, 0), (np.pi, 1, 0), (np.pi / 2, 0, -1), (-np.pi / 2, 0, 1)]
)
def test_the_pendulum_is_upright_at_zero_and_turns_counter_clockwise(theta, down, right):
    frame = draw("Pendulum-v1", theta=theta, last_u=0.0)
    row, column = centre(frame, canvas.VERMILION)
    axle_row, axle_column = centre(frame, canvas.INK)
    assert row - axle_row == pytest.approx(58 * down, abs=4)
    assert column - axle_column == pytest.approx(58 * right, abs=4)


def test_the_torque_arrow_grows_with_the_torque_and_shows_its_sign():
    def ink(torque):
        return where(draw("Pendulum-v1", theta=0.0, last_u=torque), canvas.INK)

    still, weak, left, right = (ink(torque) for torque in (0.0, 1.0, 2.0, -2.0))
    assert len(still[0]) < len(weak[0]) < len(left[0])
    assert left[1].mean() < canvas.WIDTH / 2 < right[1].mean()


@pytest.mark.parametrize("name", MINATAR)
def test_a_minatar_cell_lights_where_the_observation_says(name):
    env, _ = gymnax.make(name)
    channels = env.obs_shape[-1]
    empty = draw(name, np.zeros((10, 10, channels)))
    swatches = [empty[canvas.HEADER + 12 + 24 * i, 327].tolist() for i in range(channels)]
    assert len({tuple(swatch) for swatch in swatches}) == channels
    for channel, swatch in enumerate(swatches):
        observation = np.zeros((10, 10, channels))
        observation[2, 7, channel] = 1
        middles = draw(name, observation)[cell_centres(10, 10)]
        assert middles[2, 7].tolist() == swatch
        middles[2, 7] = ImageColor.getrgb(canvas.PALE)
        assert (middles == ImageColor.getrgb(canvas.PALE)).all()


def test_channels_that_share_a_cell_are_all_visible():
    observation = np.zeros((10, 10, 10))
    observation[9, 4, [0, 3, 7]] = 1
    cell = draw("Seaquest-MinAtar", observation)[280:308, 128:156]
    for colour in (canvas.BLUE, canvas.GREY, canvas.GREEN):
        assert (cell == ImageColor.getrgb(colour)).all(axis=-1).sum() > 10


@pytest.mark.parametrize("name, colour", [("FourRooms-misc", "GREY"), ("FrozenLake-misc", "INK")])
def test_fixed_maps_are_those_of_gymnax(name, colour):
    env, states, observations = resets(name, 1)
    closed = ~np.asarray(env.env_map) if name == "FourRooms-misc" else np.asarray(env.desc) == 2
    frame = render.frames(SimpleNamespace(name=name), states, observations, np.zeros(1))[0]
    middles = frame[cell_centres(*closed.shape)]
    dark = (middles == ImageColor.getrgb(getattr(canvas, colour))).all(axis=-1)
    assert (dark == closed).all()


def test_the_catch_ball_and_paddle_are_told_apart():
    fields = {"ball_x": 1, "ball_y": 3, "paddle_x": 4, "paddle_y": 9}
    middles = draw("Catch-bsuite", np.zeros((10, 5)), **fields)[cell_centres(10, 5)]
    assert tuple(middles[3, 1]) == ImageColor.getrgb(canvas.ORANGE)
    assert tuple(middles[9, 4]) == ImageColor.getrgb(canvas.BLUE)


COLOURS = {  # of a cell's middle, by the character of the map
    "#": canvas.GREY,
    "C": canvas.VERMILION,
    "H": canvas.INK,
    "~": canvas.ICE,
    "s": canvas.YELLOW,
    "S": canvas.YELLOW,
    "G": canvas.GREEN,
    ".": canvas.PALE,
}


@pytest.mark.parametrize("name", GRID_WORLDS)
def test_a_grid_world_shows_its_cells_and_the_agent_where_it_is(name):
    env = rljax.make(name)
    rows, columns = env.cells.shape
    expected = np.array([ImageColor.getrgb(COLOURS[cell]) for cell in env.cells.flat])
    at = cell_centres(rows, columns)
    for position, frame in enumerate(stand(env, *range(env.cells.size))):
        middles = frame[at].reshape(-1, 3)
        agent = (middles == ImageColor.getrgb(canvas.BLUE)).all(axis=-1)
        assert np.flatnonzero(agent).tolist() == [position]
        assert (middles[~agent] == expected[~agent]).all()


def test_a_grid_world_of_your_own_shows_a_start_within_its_slippery_floor():
    env = GridWorld("s . #\n. H G", name="mine")
    middles, rims = (stand(env, 1)[0][shift:][cell_centres(2, 3)] for shift in (0, 35))
    assert tuple(middles[0, 0]) == ImageColor.getrgb(canvas.YELLOW)
    assert tuple(rims[0, 0]) == ImageColor.getrgb(canvas.ICE)


def particles(name, **fields):
    """An environment of particles, and one frame of a state after `reset`, with `fields`."""
    env = rljax.make(name)
    state = jax.device_get(env.reset(jax.random.key(0))[0])._replace(**fields)
    states = jax.tree.map(lambda leaf: np.asarray(leaf)[None], state)
    return env, render.frames(env, states, np.zeros((1, 1)), np.zeros(1))[0]


@pytest.mark.parametrize("name", PARTICLES)
def test_particles_are_discs_of_their_size_where_they_are(name):
    env = rljax.make(name)
    entities, agents = len(env.world.sizes), len(env.agents)
    places = np.stack([np.linspace(-2, 2, entities), np.linspace(1, -1, entities)], axis=-1)
    env, frame = particles(name, position=places)
    middles = [frame[int(174 - 100 * y), int(240 + 100 * x)] for x, y in places]
    colours = [tuple(colour.tolist()) for colour in middles]
    team = {"SimpleAdversary-MPE": 1, "SimpleTag-MPE": 3}.get(name, 0)  # of adversaries
    expected = [canvas.VERMILION] * team + [canvas.BLUE] * (agents - team)
    assert colours[:agents] == [ImageColor.getrgb(colour) for colour in expected]
    assert {*colours[agents:]} <= {*map(ImageColor.getrgb, (canvas.GREY, canvas.GREEN))}
    _, columns = where(frame, canvas.BLUE)
    assert columns.max() == pytest.approx(
        240 + 100 * (places[agents - 1, 0] + env.world.sizes[agents - 1]), abs=2
    )


def test_a_goal_is_green_and_a_small_landmark_is_not_hidden_by_an_agent():
    places = np.array([(0, 0), (1, 0), (-1, 0), (1, 0.02), (0, 1)], float)
    _, frame = particles("SimpleAdversary-MPE", position=places, goal=0)
    assert centre(frame, canvas.GREEN) == pytest.approx((172, 340), abs=1)
    assert centre(frame, canvas.GREY) == pytest.approx((74, 240), abs=1)


def test_what_agents_say_and_who_has_left_are_shown():
    frames = [
        particles("SimpleSpeakerListener-MPE", message=np.eye(3)[[word]])[1] for word in (0, 1)
    ]
    rows, columns = np.nonzero((frames[0] != frames[1]).any(axis=-1))
    assert rows.min() > canvas.HEIGHT - 30 and columns.max() < 200
    _, frame = particles("Simple-MPE", position=np.array([(9.0, 0.0), (0.0, 0.0)]))
    assert where(frame, canvas.BLUE)[1].max() == canvas.WIDTH - 1


def test_episodes_on_maps_are_slow_enough_to_follow():
    assert render.pace(GridWorld("S G")) == render.pace(rljax.make("FrozenLake-misc")) < 10
    assert render.pace(SimpleNamespace(name="CartPole-v1")) == 30
    assert render.pace(rljax.make("Simple-MPE")) == 10  # a step is a tenth of a second


@pytest.mark.parametrize("name", ["Pong-misc", "nonsense"])
def test_other_environments_are_refused_by_name_with_the_alternatives(name):
    with pytest.raises(ValueError) as caught:
        render.frames(
            SimpleNamespace(name=name), SimpleNamespace(time=np.zeros(1)), np.zeros(1), np.zeros(1)
        )
    message = str(caught.value)
    assert message.startswith(name)
    assert all(other in message for other in render.drawable())


def swing(count):
    states = SimpleNamespace(
        theta=np.linspace(-3, 3, count), last_u=np.linspace(-2, 2, count), time=np.arange(count)
    )
    env = SimpleNamespace(name="Pendulum-v1")
    return render.frames(env, states, np.zeros((count, 3)), np.arange(count) / 3)


def test_a_gif_keeps_the_frames_their_size_and_their_colours(tmp_path):
    frames = swing(40)
    path = tmp_path / "swing.gif"
    render.save_gif(frames, path, fps=25)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size) == (40, (canvas.WIDTH, canvas.HEIGHT))
        assert gif.info["loop"] == 0
        for t in (0, 17, 39):
            gif.seek(t)
            assert gif.info["duration"] == 40
            error = np.abs(np.asarray(gif.convert("RGB")).astype(int) - frames[t])
            assert (error.max(axis=-1) > 16).sum() < 20
    assert path.stat().st_size < 40 * 6_000


def test_a_gif_of_one_frame_is_written(tmp_path):
    render.save_gif(swing(1), tmp_path / "one.GIF")
    with Image.open(tmp_path / "one.GIF") as gif:
        assert gif.n_frames == 1


def test_a_gif_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(RunError, match="nowhere/one.gif cannot be written: No such file"):
        render.save_gif(swing(1), tmp_path / "nowhere/one.gif")


def test_an_empty_or_misnamed_gif_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        render.save_gif([], tmp_path / "empty.gif")
    with pytest.raises(ValueError, match=r"play\.mp4 must end in \.gif"):
        render.save_gif(swing(1), tmp_path / "play.mp4")
    assert not list(tmp_path.iterdir())


def test_drawing_needs_neither_jax_nor_gymnax():
    code = "import sys; from importlib.util import spec_from_file_location, module_from_spec\n"
    code += f"spec = spec_from_file_location('render', {render.__file__!r})\n"
    code += "spec.loader.exec_module(module_from_spec(spec))\n"
    code += "sys.exit('jax' in sys.modules or 'gymnax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
