"""What drawings share: a picture to draw on, its colours, and boards of cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rljax.errors import ceil_div

WIDTH, HEIGHT, HEADER = 480, 320, 28  # pixels; the header is the line of text at the top
FINE = 3  # supersampling factor: shapes are drawn this much larger, then averaged down

# Okabe and Ito's colour-blind-safe set, with a brown, ice and neutral tones added.
INK, GREY, PALE, PAPER = "#24292f", "#9aa1a9", "#e6e9ec", "#fbfbfa"
BLUE, SKY, GREEN, YELLOW = "#0072b2", "#56b4e9", "#009e73", "#f0e442"
ORANGE, VERMILION, PURPLE, BROWN = "#e69f00", "#d55e00", "#cc79a7", "#6b3d1e"
ICE = "#abd9f5"

FONT = ImageFont.load_default(13 * FINE)

Point = Sequence[float] | np.ndarray
Legend = Mapping[str, str]  # channel name -> colour, in the order of the channels


class Canvas:
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
        """Fill a polygon."""
        self.pen.polygon(self.fine(points), colour)

    def box(self, left: float, bottom: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        (x0, y1), (x1, y0) = self.fine([(left, bottom), (left + width, bottom + height)])
        self.pen.rectangle((x0, y0, x1 - 1, y1 - 1), colour)  # Pillow includes the far edges

    def line(self, points: Iterable[Point], colour: str, pixels: float = 1.5) -> None:
        """Draw a line through points."""
        self.pen.line(self.fine(points), colour, round(pixels * FINE), joint="curve")

    def disc(self, centre: Point, radius: float, colour: str) -> None:
        """Fill a circle."""
        self.pen.circle(self.fine([centre])[0], radius * self.scale * FINE, colour)

    def rod(self, start: Point, end: Point, width: float, colour: str) -> None:
        """Draw a bar with round ends, in one polygon so that its edge has no seams."""
        turn = np.arctan2(end[1] - start[1], end[0] - start[0]) + np.pi * np.linspace(0.5, 1.5, 16)
        rim = circle(turn, width / 2)
        self.polygon([*(np.asarray(start) + rim), *(np.asarray(end) - rim)], colour)

    def label(self, centre: Point, text: str, colour: str = INK) -> None:
        """Write in the middle of a place of the world."""
        self.pen.text(self.fine([centre])[0], text, colour, FONT, "mm")

    def text(self, x: float, y: float, text: str, colour: str = INK, anchor: str = "lm") -> None:
        """Write beside (x, y), in pixels of the finished frame."""
        self.pen.text((x * FINE, y * FINE), text, colour, FONT, anchor)


def circle(angle: Any, radius: float = 1.0) -> np.ndarray:
    """Points [..., 2] on a circle around (0, 0), by angle counter-clockwise from the right."""
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


Drawing = Callable[[Any, Any, np.ndarray], Canvas]
"""From an environment, the state that a step led to, with its fields, and its observation."""


def board(legend: Legend, grid: np.ndarray) -> Canvas:
    """Draw a [rows, columns, channels] grid, lit where not zero, with its legend beside it.

    A board more than twice as wide as high has it below. The legend may go on behind the channels,
    with what is drawn into the board later.
    """
    rows, columns, _ = grid.shape
    colours = list(legend.values())
    wide = columns > 2 * rows
    room = WIDTH - 32 if wide else 280
    cell = room // max(rows, columns)
    left, top = 16 + (room - cell * columns) / 2, float(HEADER)
    if wide:  # in the middle, together with its legend
        top += (HEIGHT - HEADER - cell * rows - 14 - 24 * ceil_div(len(legend), 4)) / 2
    canvas = Canvas((left, top + cell * rows), cell)
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


def cells(shape: tuple[int, int], *groups: Any) -> np.ndarray:
    """Light (row, column) cells: one channel of a [rows, columns, channels] grid per group."""
    grid = np.zeros((*shape, len(groups)), bool)
    for channel, group in enumerate(groups):
        rows, columns = np.asarray(group, int).reshape(-1, 2).T
        grid[rows, columns, channel] = True
    return grid


def piece(canvas: Canvas, rows: int, row: float, column: float, colour: str) -> Point:
    """Put a disc into a cell of a board with so many rows; the middle of that cell."""
    centre = (column + 0.5, rows - row - 0.5)
    for radius, shade in ((0.36, PAPER), (0.3, colour)):
        canvas.disc(centre, radius, shade)
    return centre
