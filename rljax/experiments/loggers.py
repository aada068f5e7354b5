"""Loggers people already use: CSV, TensorBoard, Weights & Biases and MLflow, as hooks.

Each of them is told the rows so far when it begins, and then every new one. A file is written anew;
a server is told what it lacks. So a run that was killed, or a logger that is first asked for when a
run goes on, has every row once, in order.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rljax.errors import RunError, check_extra, check_known
from rljax.experiments.config import LOGGERS
from rljax.experiments.logging_tools import PACKAGES, TOOLS
from rljax.training.rows import Row
from rljax.types import State

SECONDS_BETWEEN_ATTEMPTS = 60.0


class Logger:
    """A hook that tells one tool every row; close it, or use it as a context.

        with rljax.Logger("tensorboard", "runs/mine") as log:
            state, history = rljax.train(agent, key, hooks=[log])

    A tool that fails does not stop training. It is reported once; its rows wait, are told again a
    minute later, and a last time at the end.

    Args:
        name: "csv", "mlflow", "tensorboard" or "wandb".
        folder: where the tool keeps its files, or how it finds its run again; the run's name is
            the folder's.
        config: hyperparameters, to be shown beside the curves.
        rows: those of before, of a run that goes on.
        report: told, in a sentence, that the tool has failed.

    Raises UsageError for a name that is not known or whose package is missing, RunError for a tool
    that cannot begin.
    """

    def __init__(
        self,
        name: str,
        folder: str | Path,
        config: Mapping[str, Any] | None = None,
        rows: Sequence[Row] = (),
        report: Callable[[str], None] = warnings.warn,
    ) -> None:
        check([name])
        self._name, self._report = name, report
        self._waiting: list[Row] = []
        self._failed = False
        self._try_again_at = 0.0
        known = {key: value for key, value in (config or {}).items() if value is not None}
        self._tool = contextmanager(TOOLS[name])(Path(folder), known)
        try:
            self._tell = self._tool.__enter__()
            for row in rows:
                self._tell(row)
        except Exception as error:  # Each tool has errors of its own.
            raise RunError(
                f"logger {name} cannot begin: {_reason(error)}; "
                "mend that, or leave it out of logging.to"
            ) from error

    def __call__(self, state: State, row: Row) -> None:
        """The hook: tell the tool a row."""
        self._waiting.append(row)
        if time.monotonic() >= self._try_again_at:
            self._attempt()

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._attempt()
        if self._waiting:
            self._report(
                f"logger {self._name} lacks the last {len(self._waiting)} rows; "
                "those of a run directory are all in its metrics.jsonl"
            )
        try:
            self._tool.__exit__(kind, error, traceback)
        except Exception as failure:
            if failure is not error:
                self._fail(failure)

    def close(self) -> None:
        """Tell what is left, and let go of the tool."""
        self.__exit__(None, None, None)

    def _attempt(self) -> None:
        try:
            while self._waiting:
                self._tell(self._waiting[0])
                del self._waiting[0]
        except Exception as error:
            self._try_again_at = time.monotonic() + SECONDS_BETWEEN_ATTEMPTS
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._failed:
            self._report(
                f"logger {self._name} failed ({_reason(error)}); training goes on, and "
                "what it misses is tried again"
            )
        self._failed = True


def check(names: Sequence[str]) -> None:
    """Refuse loggers that are not known, with the nearest, or whose package is not installed."""
    for name in names:
        check_known("logger", name, LOGGERS)
        if name in PACKAGES:
            check_extra(f"logger {name}", name, *PACKAGES[name])


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
