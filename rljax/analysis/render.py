"""Pictures of an agent at play: an episode's states to RGB frames, and frames to a looping GIF."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rljax.envs import GRID_WORLDS, PARTICLES
from rljax.errors import RunError, UsageError, ceil_div

if TYPE_CHECKING:
    from rljax.types import Environment

WIDTH, HEIGHT, HEADER = 480, 320, 28  # pixels; the header is the line of text at the top
PACE = 30  # frames per second
FINE = 3  # supersampling factor: shapes are drawn this much larger, then averaged down

# Okabe and Ito's colour-blind-safe set, with a brown, ice and neutral tones added.
INK, GREY, PALE, PAPER = "#24292f", "#9aa1a9", "#e6e9ec", "#fbfbfa"
BLUE, SKY, GREEN, YELLOW = "#0072b2", "#56b4e9", "#009e73", "#f0e442"
ORANGE, VERMILION, PURPLE, BROWN = "#e69f00", "#d55e00", "#cc79a7", "#6b3d1e"
ICE = "#abd9f5"

FONT = ImageFont.load_default(13 * FINE)

Point = Sequence[float] | np.ndarray
Legend = Mapping[str, str]  # channel name -> colour, in the order of the channels


class _Canvas:
    """A supersampled picture addressed in world units, x to the right and y up.

    `origin` is the world's (0, 0) in pixels from the top left; `scale` is pixels per unit.
    """

    def __init__(self, origin: Point, scale: float) -> None:
        self.origin, self.scale = origin, scale
        self.image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def fine(self, points: Iterable[Point]) -> list[tuple[float, float]]:
        """Place world points, in supersampled pixels."""
        (left, top), scale = self.origin, self.scale
        return [((left + x * scale) * FINE, (top - y * scale) * FINE) for x, y in points]

    def polygon(self, points: Iterable[Point], colour: str) -> None:
        self.pen.polygon(self.fine(points), colour)

    def box(self, left: float, bottom: float, width: float, height: float, colour: str) -> None:
        (x0, y1), (x1, y0) = self.fine([(left, bottom), (left + width, bottom + height)])
        self.pen.rectangle((x0, y0, x1 - 1, y1 - 1), colour)  # Pillow includes the far edges

    def line(self, points: Iterable[Point], colour: str, pixels: float = 1.5) -> None:
        self.pen.line(self.fine(points), colour, round(pixels * FINE), joint="curve")

    def disc(self, centre: Point, radius: float, colour: str) -> None:
        self.pen.circle(self.fine([centre])[0], radius * self.scale * FINE, colour)

    def rod(self, start: Point, end: Point, width: float, colour: str) -> None:
        """Draw a bar with round ends, in one polygon so that its edge has no seams."""
        turn = np.arctan2(end[1] - start[1], end[0] - start[0]) + np.pi * np.linspace(0.5, 1.5, 16)
        rim = _round(turn, width / 2)
        self.polygon([*(np.asarray(start) + rim), *(np.asarray(end) - rim)], colour)

    def text(self, x: float, y: float, text: str, colour: str = INK, anchor: str = "lm") -> None:
        """Write beside (x, y), in pixels of the finished frame."""
        self.pen.text((x * FINE, y * FINE), text, colour, FONT, anchor)


def _round(angle: Any, radius: float = 1.0) -> np.ndarray:
    """Points [..., 2] on a circle around (0, 0), by angle counter-clockwise from the right."""
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


Drawing = Callable[[Any, np.ndarray], _Canvas]  # one step's state and observation


def _cartpole(state: Any, _: np.ndarray) -> _Canvas:
    canvas = _Canvas((WIDTH / 2, 225), 88)
    x, theta = float(state.x), float(state.theta)
    canvas.line([(-3, 0), (3, 0)], GREY)
    for limit in (-2.4, 2.4):
        canvas.line([(limit, -0.12), (limit, 0.12)], GREY)
    canvas.box(x - 0.22, -0.13, 0.44, 0.26, INK)
    axle = np.array([x, 0.06])
    canvas.rod(axle, axle + _round(np.pi / 2 - theta), 0.08, ORANGE)  # positive leans right
    canvas.disc(axle, 0.045, BLUE)
    return canvas


def _acrobot(state: Any, _: np.ndarray) -> _Canvas:
    canvas = _Canvas((WIDTH / 2, HEADER + 145), 66)
    canvas.line([(-4, 1), (4, 1)], GREY)
    canvas.text(16, HEADER + 90, "goal height", GREY)
    # The second angle is measured from the first link, and both are zero hanging down.
    first = float(state.joint_angle1) - np.pi / 2
    elbow = _round(first)
    canvas.rod((0, 0), elbow, 0.2, BLUE)
    canvas.rod(elbow, elbow + _round(first + float(state.joint_angle2)), 0.2, SKY)
    for joint in ((0, 0), elbow):
        canvas.disc(joint, 0.07, INK)
    return canvas


def _track(x: Any) -> np.ndarray:
    """Points [..., 2] of the mountain's surface at positions `x`."""
    return np.stack([x, np.sin(3 * x) * 0.45 + 0.55], axis=-1)


def _mountain_car(goal: float, state: Any, _: np.ndarray) -> _Canvas:
    canvas = _Canvas((WIDTH / 2 + 72, HEIGHT), 240)
    surface = _track(np.linspace(-1.35, 0.75, 100))
    canvas.polygon([(-1.35, -0.1), *surface, (0.75, -0.1)], PALE)
    canvas.line(surface, INK, 2)
    base, flag = _track(goal), [(0, 0.15), (0.08, 0.12), (0, 0.09)]
    canvas.line([base, base + (0, 0.15)], INK)
    canvas.polygon(base + flag, ORANGE)
    x = float(state.position)
    slope = np.arctan(1.35 * np.cos(3 * x))
    foot, along, normal = _track(x), _round(slope), _round(slope + np.pi / 2)
    body = [(-0.07, 0.025), (0.07, 0.025), (0.07, 0.055), (0.035, 0.085), (-0.07, 0.085)]
    canvas.polygon([foot + u * along + v * normal for u, v in body], BLUE)
    for u in (-0.04, 0.04):
        hub = foot + u * along + 0.026 * normal
        canvas.disc(hub, 0.026, INK)
        canvas.disc(hub, 0.01, PALE)
    return canvas


def _pendulum(state: Any, _: np.ndarray) -> _Canvas:
    canvas = _Canvas((WIDTH / 2, HEADER + 144), 116)
    # Zero is upright and positive is counter-clockwise, for the angle and for the torque.
    angle, torque = float(state.theta) + np.pi / 2, float(np.squeeze(state.last_u))
    canvas.rod((0, 0), _round(angle), 0.2, VERMILION)
    canvas.disc((0, 0), 0.06, INK)
    if abs(torque) > 0.05:
        end = angle + torque * np.pi / 3
        canvas.line(_round(np.linspace(angle, end, 24), 0.55), INK, 3)
        point = _round(end, 0.55) + np.sign(torque) * _round(end + np.pi / 2, 0.14)
        canvas.polygon([point, _round(end, 0.48), _round(end, 0.62)], INK)
    return canvas


def _board(legend: Legend, _: Any, grid: np.ndarray) -> _Canvas:
    """Draw a [rows, columns, channels] grid, lit where not zero, with its legend beside it.

    One more than twice as wide as high has it below.
    """
    rows, columns, _ = grid.shape
    colours = list(legend.values())
    wide = columns > 2 * rows
    room = WIDTH - 32 if wide else 280
    cell = room // max(rows, columns)
    left, top = 16 + (room - cell * columns) / 2, float(HEADER)
    if wide:  # in the middle, together with its legend
        top += (HEIGHT - HEADER - cell * rows - 14 - 24 * ceil_div(len(legend), 4)) / 2
    canvas = _Canvas((left, top + cell * rows), cell)
    for row, column in np.ndindex(rows, columns):
        lit = np.flatnonzero(grid[row, column]).tolist()
        # Channels that share a cell are nested squares, so that none hides another.
        squares = [(0.05 + 0.42 * i / len(lit), colours[channel]) for i, channel in enumerate(lit)]
        for inset, colour in [(0.02, PALE), *squares]:
            side = 1 - 2 * inset
            canvas.box(column + inset, rows - 1 - row + inset, side, side, colour)
    for i, (name, colour) in enumerate(legend.items()):
        below = left + 112 * (i % 4), cell * rows + 14 + 24 * (i // 4)
        x, y = below if wide else (320, 5 + 24 * i)  # y from the top of the board
        canvas.box((x - left) / cell, rows - (y + 14) / cell, 14 / cell, 14 / cell, colour)
        canvas.text(x + 22, top + y + 7, name)
    return canvas


def _cells(shape: tuple[int, int], *groups: Any) -> np.ndarray:
    """Light (row, column) cells: one channel of a [rows, columns, channels] grid per group."""
    grid = np.zeros((*shape, len(groups)), bool)
    for channel, group in enumerate(groups):
        rows, columns = np.asarray(group, int).reshape(-1, 2).T
        grid[rows, columns, channel] = True
    return grid


def _catch(state: Any, observation: np.ndarray) -> _Canvas:
    ball, paddle = (state.ball_y, state.ball_x), (state.paddle_y, state.paddle_x)
    legend = {"paddle": BLUE, "ball": ORANGE}
    return _board(legend, state, _cells(observation.shape, paddle, ball))


_WALLS = [(r, c) for r in range(13) for c in range(13) if r in (0, 12) or c in (0, 6, 12)]
_WALLS += [(6, c) for c in range(1, 6)] + [(7, c) for c in range(7, 12)]
_WALLS = [wall for wall in _WALLS if wall not in ((3, 6), (10, 6), (6, 2), (7, 9))]


def _four_rooms(state: Any, _: np.ndarray) -> _Canvas:
    legend = {"wall": GREY, "goal": GREEN, "agent": BLUE}
    return _board(legend, state, _cells((13, 13), _WALLS, state.goal, state.pos))


_GROUND = {  # what a cell of a grid world is, the characters that say so, and its colour
    "wall": ("#", GREY),
    "cliff": ("C", VERMILION),
    "hole": ("H", INK),
    "slippery floor": ("~s", ICE),
    "start": ("Ss", YELLOW),
    "goal": ("G", GREEN),
}


def _grid_world(cells: np.ndarray, state: Any, _: np.ndarray) -> _Canvas:
    """Draw a map of characters [rows, columns], and the agent at its position in reading order."""
    grounds = {name: np.isin(cells, list(kinds)) for name, (kinds, _) in _GROUND.items()}
    legend = {name: _GROUND[name][1] for name, lit in grounds.items() if lit.any()}
    grid = np.stack([grounds[name] for name in legend], axis=-1)
    nobody = np.zeros_like(grid[..., :1])  # The agent is a disc, and in the legend only.
    canvas = _board({**legend, "agent": BLUE}, state, np.concatenate([grid, nobody], axis=-1))
    row, column = divmod(int(state.position), cells.shape[1])
    for radius, colour in ((0.36, PAPER), (0.3, BLUE)):
        canvas.disc((column + 0.5, len(cells) - row - 0.5), radius, colour)
    return canvas


def _particles(env: Any, state: Any, _: np.ndarray) -> _Canvas:
    """Draw agents and landmarks as discs, with a line from each agent to its goal.

    Who has left the picture is drawn at its edge.
    """
    canvas = _Canvas((WIDTH / 2, (HEIGHT + HEADER) / 2), 100)
    edge = np.array([WIDTH, HEIGHT - HEADER]) / 2 / canvas.scale
    places, teams = np.clip(state.position, -edge, edge), env.teams
    colours = [GREY] * len(places)
    goals = np.broadcast_to(state.goal, len(env.agents)) if hasattr(state, "goal") else ()
    for agent, goal in enumerate(goals):
        canvas.line([places[agent], places[len(env.agents) + goal]], PALE)
        colours[len(env.agents) + goal] = GREEN
    for team, colour in zip(teams, (VERMILION, BLUE)[-len(teams) :], strict=True):
        for agent in team:
            colours[agent] = colour
    sizes = env.world.sizes
    for entity in np.argsort(-sizes, kind="stable"):  # the largest first, so that none is hidden
        canvas.disc(places[entity], sizes[entity], colours[entity])
    for line, said in enumerate(getattr(state, "message", ())):
        word = chr(ord("A") + int(np.argmax(said))) if said.any() else "nothing"
        canvas.text(16, HEIGHT - 16 - 20 * line, f"{env.agents[line]} says {word}")
    return canvas


# The lake that gymnax makes by default; its state holds no map to tell another one by.
_LAKE = np.array([list(row) for row in ("s~~~", "~H~H", "~~~H", "H~~G")])

_DRAWINGS: dict[str, Drawing] = {
    "CartPole-v1": _cartpole,
    "Acrobot-v1": _acrobot,
    "MountainCar-v0": partial(_mountain_car, 0.5),
    "MountainCarContinuous-v0": partial(_mountain_car, 0.45),
    "Pendulum-v1": _pendulum,
    "Asterix-MinAtar": partial(_board, {
        "player": BLUE, "enemy": VERMILION, "trail": GREY, "gold": YELLOW,
    }),
    "Breakout-MinAtar": partial(_board, {
        "paddle": BLUE, "ball": INK, "trail": GREY, "brick": ORANGE,
    }),
    "Freeway-MinAtar": partial(_board, {
        "chicken": BLUE, "car": INK, "trail, fastest": VERMILION, "trail, fast": ORANGE,
        "trail, medium": YELLOW, "trail, slow": GREEN, "trail, slowest": SKY,
    }),
    "Seaquest-MinAtar": partial(_board, {
        "submarine, front": BLUE, "submarine, back": SKY, "own bullet": INK, "trail": GREY,
        "enemy bullet": VERMILION, "enemy fish": ORANGE, "enemy submarine": PURPLE,
        "oxygen": GREEN, "divers aboard": BROWN, "diver": YELLOW,
    }),
    "SpaceInvaders-MinAtar": partial(_board, {
        "cannon": BLUE, "alien": INK, "moving left": ORANGE, "moving right": SKY,
        "own bullet": GREEN, "enemy bullet": VERMILION,
    }),
    "Catch-bsuite": _catch,
    "FourRooms-misc": _four_rooms,
    "FrozenLake-misc": partial(_grid_world, _LAKE),
}  # fmt: skip


def drawable() -> tuple[str, ...]:
    """Names of the environments that can be drawn; a grid world by any other name can be, too."""
    return (*GRID_WORLDS, *PARTICLES, *_DRAWINGS)


def pace(env: "Environment") -> int:
    """Frames per second to watch an episode at: few where each step crosses a whole cell."""
    if env.name in PARTICLES:
        return 10  # in the time that passes for them
    walks = hasattr(env, "cells") or env.name in ("FourRooms-misc", "FrozenLake-misc")
    return 4 if walks else PACE


def frames(
    env: "Environment", states: Any, observations: np.ndarray, returns: np.ndarray
) -> list[np.ndarray]:
    """Draw one uint8 [HEIGHT, WIDTH, 3] frame per step.

    `states` is the state of `env` with leaves [T, ...]; `observations` is [T, ...]; `returns` is
    [T], the return so far. A grid world is drawn by its `cells`, any other environment by its name.
    Raises UsageError, a ValueError, for one that cannot be drawn.
    """
    drawing: Drawing
    if (cells := getattr(env, "cells", None)) is not None:
        drawing = partial(_grid_world, cells)
    elif env.name in PARTICLES:
        drawing = partial(_particles, env)
    elif env.name in _DRAWINGS:
        drawing = _DRAWINGS[env.name]
    else:
        raise UsageError(f"{env.name} cannot be drawn; those that can are {', '.join(drawable())}")
    leaves = states._asdict() if hasattr(states, "_asdict") else vars(states)
    pictures = []
    for t, (observation, total) in enumerate(zip(observations, returns, strict=True)):
        # Without the fields that are (), because a scenario has nothing to keep there.
        state = SimpleNamespace(**{k: leaf[t] for k, leaf in leaves.items() if len(leaf)})
        canvas = drawing(state, observation)
        score = round(float(total), 2) + 0.0  # adding zero turns -0.0 into 0.0
        canvas.text(16, HEADER / 2, f"step {int(state.time)}   return {score:.10g}")
        canvas.text(WIDTH - 16, HEADER / 2, env.name, GREY, "rm")
        pictures.append(np.asarray(canvas.image.reduce(FINE)))
    return pictures


def save_gif(frames: Sequence[np.ndarray], path: str | Path, fps: float = PACE) -> None:
    """Write uint8 [H, W, 3] frames as a GIF that loops for ever, `fps` (at most 50) a second.

    Raises UsageError for another name or no frames, RunError where it cannot be written.
    """
    if Path(path).suffix.lower() != ".gif":
        raise UsageError(f"{path} must end in .gif")
    if len(frames) == 0:
        raise UsageError(f"there are no frames to write to {path}")
    # One palette for all frames keeps still pixels equal, so that only changes are stored.
    # Each distinct colour counts once in it, or small things would lose theirs to the paper.
    sample = np.stack(frames[:: ceil_div(len(frames), 32)]).reshape(-1, 3).astype(np.uint32)
    packed = np.unique(sample @ np.array([1 << 16, 1 << 8, 1], np.uint32))
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)
    sheet = Image.fromarray(colours.astype(np.uint8)[None])
    palette = sheet.quantize(255, method=Image.Quantize.MAXCOVERAGE)
    plain = Image.Dither.NONE
    first, *rest = (Image.fromarray(f).quantize(palette=palette, dither=plain) for f in frames)
    # Viewers slow a frame shorter than 20 ms down to 100 ms.
    pause = max(20, round(1000 / fps))
    try:
        first.save(path, save_all=True, append_images=rest, loop=0, duration=pause, optimize=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
