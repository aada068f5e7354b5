"""What a person sees while a run trains."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from rljax.experiments.metrics import EVALUATED, TRAINING
from rljax.statistics import central, central_name, interval
from rljax.training.rows import Row
from rljax.types import Agent, State

SECONDS_BETWEEN_LINES = 5.0
WIDEST = 100  # columns that the dashboard takes of a terminal, at most
CURVE_LINES = 6
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a braille character


class Display:
    """A live dashboard on a terminal; plain lines elsewhere. Use it as a context and a hook.

    `rows` are those of before, of a run that goes on: the curve and the best evaluation know them.
    """

    def __init__(
        self, agent: Agent, console: Console | None = None, rows: Sequence[Row] = ()
    ) -> None:
        self._console = console or Console(stderr=True)
        self._total = agent.env_steps(agent.num_iterations)
        self._latest: dict[str, Any] = {}
        self._steps: list[int] = []  # of evaluations
        self._returns: list[float] = []  # of which each is `central` over seeds
        self._evaluation: dict[str, str] = {}  # what there is to say of the latest
        self._began = time.perf_counter()
        self._printed = -SECONDS_BETWEEN_LINES
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=8)
        for row in rows:
            self._note_evaluation(row)

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print("compiling")
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, state: State, row: Row) -> None:
        """The hook: show a row."""
        self._latest |= {name: value for name, value in row.items() if value is not None}
        self._note_evaluation(row)
        if not self._console.is_terminal:
            self._line(row)

    def _note_evaluation(self, row: Row) -> None:
        if row.get(EVALUATED) is None:
            return
        values = np.reshape(np.asarray(row[EVALUATED], float), (-1, 1))  # [seeds, 1 environment]
        middle = float(central(values))
        self._steps.append(row["env_steps"])
        self._returns.append(middle)
        self._evaluation = {"evaluation": f"{middle:.4g}"}
        if values.size > 1:
            bounds = interval(central, values)
            each = ", ".join(f"{value:.4g}" for value in values.ravel())
            shown = each if bounds is None else "{:.4g} to {:.4g}".format(*bounds)
            what = "each" if bounds is None else "95% interval"
            self._evaluation["evaluation"] += f" ({shown})"
            self._evaluation["seeds"] = f"{values.size} ({central_name(values.size)}, {what})"

    def _picture(self) -> RenderableType:
        if not self._latest:
            self._spinner.update(text=f"compiling {time.perf_counter() - self._began:.0f} s")
            return self._spinner
        steps, speed = self._latest["env_steps"], self._latest["charts/SPS"]
        facts = {
            "steps": f"{steps:,} of {self._total:,}",
            "speed": f"{speed:,.0f} steps/s",
            "left": str(timedelta(seconds=round(self._seconds_left(self._latest)))),
            **({"actors": _actors(self._latest)} if "charts/actors" in self._latest else {}),
            **self._evaluation,
        }
        if self._returns:
            best = int(np.argmax(self._returns))
            facts["best"] = f"{self._returns[best]:.4g} at {self._steps[best]:,} steps"
        for name, value in self._latest.items():
            if name.startswith(("charts/episodic", "losses/")):
                facts[name.partition("/")[2]] = _show(value)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(no_wrap=True)
        for name, fact in facts.items():
            table.add_row(name, fact)
        return Group(self._curve(), table)

    def _curve(self) -> Table:
        """The return of evaluations over the steps of the whole run; the bar is its x-axis."""
        labels = [""] * CURVE_LINES
        lines = []
        if self._returns:
            low, high = min(self._returns), max(self._returns)
            labels[0], labels[-1] = f"{high:.4g}", f"{low:.4g}"
        margin = max(map(len, labels))
        width = max(8, min(self._console.width, WIDEST) - margin - 1)
        if self._returns:
            x = np.array(self._steps) / self._total
            y = (np.array(self._returns) - low) / ((high - low) or 1.0)
            lines = braille(x, y, width, CURVE_LINES)
        figure = Table.grid(padding=(0, 1))
        figure.add_column(style="dim", justify="right", no_wrap=True)
        figure.add_column(style="cyan", no_wrap=True)
        for label, line in zip(labels, lines, strict=False):
            figure.add_row(label, line)
        completed = self._latest["env_steps"]
        figure.add_row("", ProgressBar(self._total, completed, width, complete_style="cyan"))
        return figure

    def _line(self, row: Row) -> None:
        now = time.perf_counter()
        last = row["env_steps"] >= self._total
        if now - self._printed < SECONDS_BETWEEN_LINES and not last:
            return
        self._printed = now
        returns = self._latest.get(EVALUATED, self._latest.get(TRAINING))
        self._console.print(
            f"{row['env_steps']:,}/{self._total:,} steps  {row['charts/SPS']:,.0f} steps/s  "
            f"return {_show(returns)}  {self._seconds_left(row):.0f} s left"
            + (f"  actors {_actors(row)}" if "charts/actors" in row else ""),
            highlight=False,
            soft_wrap=True,
        )

    def _seconds_left(self, row: Row) -> float:
        seeds = np.size(row["charts/episodes"])
        return (self._total - row["env_steps"]) * seeds / row["charts/SPS"]


def braille(x: np.ndarray, y: np.ndarray, width: int, height: int) -> list[str]:
    """The line through points x, y [K], both from 0 to 1 and x increasing, as lines of text.

    There are `height` lines of `width` characters, each of 4 x 2 dots; y of 1 is at the top.
    """
    dots = np.zeros((4 * height, 2 * width), bool)
    columns = np.arange(round(x[0] * (2 * width - 1)), round(x[-1] * (2 * width - 1)) + 1)
    levels = np.rint(np.interp(columns / (2 * width - 1), x, y) * (4 * height - 1)).astype(int)
    for column, before, level in zip(columns, [levels[0], *levels], levels, strict=False):
        dots[min(before, level) : max(before, level) + 1, column] = True  # steep parts are filled
    cells = dots[::-1].reshape(height, 4, width, 2) * DOTS[:, None]
    return ["".join(chr(0x2800 + cell) for cell in line) for line in cells.sum((1, 3))]


def _actors(row: Row) -> str:
    """What the actors of a simulator do."""
    return (
        f"{row['charts/actors']:.0f}, simulator {row['charts/simulator_SPS']:,.0f} steps/s, "
        f"lag {row['charts/policy_lag']:.3g}, queue {row['charts/queue']:.3g}"
    )


def _show(value: Any) -> str:
    """A number, or the middle and the range of a population's."""
    if value is None:
        return "-"
    if isinstance(value, list):
        numbers = sorted(v for v in value if v is not None)
        if not numbers:
            return "-"
        return f"{numbers[len(numbers) // 2]:.4g} ({numbers[0]:.4g} to {numbers[-1]:.4g})"
    return f"{value:.4g}"
