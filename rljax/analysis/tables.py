"""Tables of action values drawn on their maps: what each cell is worth, and where to go from it.

Two runs in one picture, coloured on one scale:

    from rljax.analysis import plots, tables

    runs = [tables.read(path) for path in ("runs/sarsa", "runs/q_learning")]
    plots.save(tables.draw_tables(runs), Path("tables.png"))
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from rljax.agents import AGENTS
from rljax.analysis.drawings.canvas import GREEN, GREY, INK, PALE, PAPER, VERMILION
from rljax.envs import grid_world
from rljax.errors import UsageError
from rljax.experiments import directory, experiment
from rljax.types import Environment

Look = dict[str, Any]

MODULES = re.compile(r"\.(tabular|dyna):")  # of agents whose parameters are a table

COLOURS = "cividis"  # from dark blue to yellow, the same to all eyes
MARKS: dict[str, Look] = {  # of the cells in which nobody acts
    "G": {"label": "goal", "color": GREEN, "marker": "*"},
    "C": {"label": "cliff", "color": VERMILION, "marker": "X"},
    "H": {"label": "hole", "color": INK, "marker": "o"},
    "#": {"label": "wall", "color": GREY, "marker": "s"},
}
PATH: Look = {
    "label": "greedy path",
    "color": VERMILION,
    "linewidth": 4,
    "zorder": 1.5,  # over the colours, under marks and arrows
    "path_effects": [withStroke(linewidth=5.5, foreground=PAPER)],
}
# Sizes are in cells; those of the head are multiples of the width.
ARROW: Look = {"width": 0.07, "headwidth": 3.5, "headlength": 3.5, "headaxislength": 3.5}
ARROW |= {"angles": "xy", "units": "xy", "scale_units": "xy", "scale": 1, "zorder": 3}
ARROW |= {"facecolor": PAPER, "edgecolor": INK, "linewidth": 0.6}


class Map(NamedTuple):
    """What the picture of a grid world needs, of S = rows x columns cells and A actions."""

    cells: np.ndarray  # [rows, columns] characters of `grid_world.CELLS`
    moves: np.ndarray  # int [A, 2] rows and columns that each action goes
    reached: np.ndarray  # int [S, A] the cell it arrives at, unless it slips

    @property
    def inhabited(self) -> np.ndarray:
        """Whether actions are taken in each cell, bool [S]."""
        return ~np.isin(self.cells.ravel(), list(MARKS))

    @property
    def starts(self) -> np.ndarray:
        """The cells where episodes begin, int [number of them]."""
        return np.flatnonzero(np.isin(self.cells, ("S", "s")))


Titled = tuple[str, np.ndarray, Map]  # a title, a table [S, A], and the map it is about


def read(path: str | Path, member: int = 0) -> Titled:
    """The table of a run at its latest checkpoint; `member` is which of its seeds.

    Raises UsageError for an agent without a table, an environment without a map and a member that
    the run does not have, RunError for a run that is missing or damaged.
    """
    config = directory.find(path).load_config()
    top = config.top
    tabular = [name for name, place in AGENTS.items() if MODULES.search(place)]
    if top.agent not in tabular:
        raise UsageError(f"{top.agent} keeps no table to draw; these do: {', '.join(tabular)}")
    map_ = map_of(config.env())
    agent, state = experiment.load(path)
    agent, state = experiment.member(agent, config, state, member)
    table = np.asarray(state.learner.params)
    steps = agent.env_steps(experiment.iterations(state))
    seed = f", seed {top.seed + member}" if top.num_seeds > 1 else ""
    title = f"{top.agent} on {top.env}{seed}\n{steps:,} environment steps"
    return title, table if table.ndim == 2 else table.mean(axis=0), map_


def map_of(env: Environment) -> Map:
    """The map of a `GridWorld`, or of gymnax's FrozenLake. Raises UsageError for all others."""
    if isinstance(env, grid_world.GridWorld):
        return Map(env.cells, np.array(grid_world.MOVES), env.reached)
    if env.name == "FrozenLake-misc":  # The lake is ours, the order of its actions is gymnax's.
        cells, moves, reached = map_of(grid_world.make("FrozenLake4x4"))
        return Map(cells, moves[::-1], reached[:, ::-1])
    raise UsageError(f"{env.name} has no map to draw a table on; grid worlds have one")


def arrows(table: np.ndarray, map_: Map) -> np.ndarray:
    """Where the best actions of a table [S, A] go: x, y, dx, dy of each arrow, float [K, 4].

    In cells, y downwards, (0, 0) in the middle of the first one. A best action by itself has an
    arrow through the middle of its cell; those that tie have short ones, away from it.
    """
    best = (table == table.max(axis=1, keepdims=True)) & map_.inhabited[:, None]
    cell, action = np.nonzero(best)
    tied = best.sum(axis=1)[cell, None] > 1
    middle = np.stack(np.divmod(cell, map_.cells.shape[1]), axis=1)
    tail = middle + map_.moves[action] * np.where(tied, 0.1, -0.3)
    ahead = map_.moves[action] * np.where(tied, 0.3, 0.6)
    return np.concatenate([tail[:, ::-1], ahead[:, ::-1]], axis=1)


def greedy_path(table: np.ndarray, map_: Map, start: int) -> list[int]:
    """The cells that the best actions of a table [S, A] lead through, from `start`.

    Nothing slips, and the first of tied actions is taken, as the agent does. The path ends in a
    goal, a hole, a cliff (where the episode would go on), or a cell that it has been to already.
    """
    path = [start]
    while map_.inhabited[path[-1]] and path[-1] not in path[:-1]:
        path.append(int(map_.reached[path[-1], table[path[-1]].argmax()]))
    return path


def draw_tables(tables: Sequence[Titled]) -> Figure:
    """A figure of (title, table [S, A], map) each, coloured on one scale.

    The colour of a cell is the value of its best action; arrows are its best actions, the line is
    the greedy path from each start. Walls, cliffs, holes and goals, where nobody acts, are marked
    instead. Raises UsageError if there is no table, or one does not fit its map.
    """
    if not tables:
        raise UsageError("there is no table to draw")
    for title, table, map_ in tables:
        if table.shape != map_.reached.shape:
            raise UsageError(
                f"{title}: a table {list(table.shape)} does not fit a map of "
                f"[cells, actions] = {list(map_.reached.shape)}"
            )
    rows, columns = np.max([map_.cells.shape for *_, map_ in tables], axis=0)
    down, across = (len(tables), 1) if columns > 1.5 * rows else (1, len(tables))
    cell = np.clip(7 / columns, 0.45, 0.85)  # inches
    width = across * max(cell * columns + 0.2, 3.7) + 1.1
    height = down * max(cell * rows + 0.6, 2) + 0.4
    figure = Figure((width, height), dpi=140, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    values = np.concatenate([table[map_.inhabited].max(axis=1) for _, table, map_ in tables])
    scale = Normalize(values.min(), values.max())
    for axes, (title, table, map_) in zip(panels, tables, strict=True):
        axes.set_title(title, fontsize=10)
        _draw(axes, table, map_, scale)
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), ax=list(panels), aspect=25)
    bar.set_label("value of the best action")
    present = {kind for *_, map_ in tables for kind in map_.cells.flat}
    marks = [MARKS[kind] | {"linestyle": "", "markersize": 9} for kind in MARKS if kind in present]
    legend = [Line2D([], [], **look) for look in (PATH, *marks)]
    figure.legend(
        handles=legend, loc="outside lower center", ncols=int(width // 1.3), frameon=False
    )
    return figure


def _draw(axes: Axes, table: np.ndarray, map_: Map, scale: Normalize) -> None:
    """Draw one table."""
    shape = map_.cells.shape
    value = np.where(map_.inhabited, table.max(axis=1), np.nan)
    axes.imshow(value.reshape(shape), COLOURS, norm=scale)
    for kind, look in MARKS.items():
        y, x = np.nonzero(map_.cells == kind)
        axes.plot(x, y, linestyle="", markersize=18, **look)
    for start in map_.starts:
        y, x = np.divmod(greedy_path(table, map_, start), shape[1])
        axes.plot(x, y, marker="o", markersize=12, markevery=[0], **PATH)
    axes.quiver(*arrows(table, map_).T, **ARROW)
    axes.set(xticks=[], yticks=[], facecolor=PALE)
