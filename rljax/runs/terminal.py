"""What a person sees while a run trains."""

import time
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rljax.training import Row
from rljax.types import Agent, State

TABLE = (
    "evaluation/return_mean",
    "charts/episodic_return",
    "charts/episodic_length",
    "losses/policy_loss",
    "losses/value_loss",
    "losses/entropy",
    "losses/approx_kl",
    "losses/clipfrac",
    "losses/explained_variance",
    "losses/grad_norm",
)
SECONDS_BETWEEN_LINES = 5.0


class Display:
    """A live bar and table on a terminal; plain lines elsewhere. Use it as a context and a hook."""

    def __init__(self, agent: Agent, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._total = agent.env_steps(agent.num_iterations)
        self._latest: dict[str, Any] = {}
        self._began = time.perf_counter()
        self._printed = -SECONDS_BETWEEN_LINES
        self._spinner = Spinner("dots")
        self._bar = Progress(
            TextColumn("{task.completed:,}/{task.total:,} steps"),
            BarColumn(),
            TextColumn("{task.fields[speed]} steps/s"),
            _Left(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("training", total=self._total, speed="-")
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=8)

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
        self._bar.update(self._task, completed=row["env_steps"], speed=f"{row['charts/SPS']:,.0f}")
        if not self._console.is_terminal:
            self._line(row)

    def _picture(self) -> Any:
        if not self._latest:
            self._spinner.update(text=f"compiling {time.perf_counter() - self._began:.0f} s")
            return self._spinner
        table = Table.grid(padding=(0, 2))
        for name in TABLE:
            if name in self._latest:
                table.add_row(Text(name, style="dim"), _show(self._latest[name]))
        return Group(self._bar, table)

    def _line(self, row: Row) -> None:
        now = time.perf_counter()
        last = row["env_steps"] >= self._total
        if now - self._printed < SECONDS_BETWEEN_LINES and not last:
            return
        self._printed = now
        seeds = np.size(row["charts/episodes"])
        left = (self._total - row["env_steps"]) * seeds / row["charts/SPS"]
        returns = self._latest.get(
            "evaluation/return_mean", self._latest.get("charts/episodic_return")
        )
        self._console.print(
            f"{row['env_steps']:,}/{self._total:,} steps  {row['charts/SPS']:,.0f} steps/s  "
            f"return {_show(returns)}  {left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )


class _Left(ProgressColumn):
    """The word between speed and time."""

    def render(self, task: Task) -> Text:
        return Text("left", style="dim")


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
