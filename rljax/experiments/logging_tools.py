"""How each tool of logging is told the rows: CSV, TensorBoard, Weights & Biases, MLflow.

A tool is a generator. It yields a function that takes a row, once, and closes when it goes on.
"""

import csv
import os
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rljax.experiments.directory import write_atomically
from rljax.statistics import central_of_some
from rljax.training.rows import Row

Tell = Callable[[Row], None]
Telling = Generator[Tell]  # yields once, and closes the tool when it goes on

MEMBER = "member"  # the column of a CSV that tells the lines of a population's row apart
PROJECT = "rljax"  # what experiments and projects are called unless the environment says otherwise


def scalars(row: Row) -> dict[str, float]:
    """A row for tools that know only numbers.

    Of a population it is `statistics.central` of the members, and of evaluations the range, too:
    `evaluation/return_mean`, `evaluation/return_mean/min` and `evaluation/return_mean/max`.
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        members = _members(value)
        values = members[~np.isnan(members)]
        if values.size:
            found[name] = central_of_some(members)
            if np.ndim(value) and name.startswith("evaluation/"):
                found |= {f"{name}/min": float(values.min()), f"{name}/max": float(values.max())}
    return found


def lines(row: Row) -> list[dict[str, Any]]:
    """A row as lines of a CSV: one, or one for each member of a population."""
    members = {name: _members(value) for name, value in row.items() if isinstance(value, list)}
    if not members:
        return [row]
    return [
        {MEMBER: index}
        | {
            name: _none_for_nan(members[name][index]) if name in members else value
            for name, value in row.items()
        }
        for index in range(max(map(len, members.values())))
    ]


def _csv(folder: Path, config: Mapping[str, Any]) -> Telling:
    """metrics.csv, with a column for each name."""
    path = folder / "metrics.csv"
    folder.mkdir(parents=True, exist_ok=True)
    columns: list[str] = []
    told: list[dict[str, Any]] = []

    def tell(row: Row) -> None:
        added = lines(row)
        if set(added[0]) <= set(columns):
            with path.open("a", newline="") as file:
                csv.DictWriter(file, columns, lineterminator="\n").writerows(added)
        else:  # Names that come later, as those of evaluations do, need a header of their own.
            names = list(dict.fromkeys([*columns, *added[0]]))
            draft = path.with_name(path.name + ".tmp")
            with draft.open("w", newline="") as file:
                writer = csv.DictWriter(file, names, lineterminator="\n")
                writer.writeheader()
                writer.writerows([*told, *added])
            os.replace(draft, path)
            columns[:] = names
        told.extend(added)

    yield tell


def _tensorboard(folder: Path, config: Mapping[str, Any]) -> Telling:
    """Event files in tensorboard/; each hides what those before it had of its steps."""
    # SummaryWriter writes from a thread, which a full disk ends unnoticed: training would hang.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import hparams

    place = folder / "tensorboard"
    place.mkdir(parents=True, exist_ok=True)
    shown = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in config.items()}
    experiment, started, ended = hparams(shown, {"evaluation/return_mean": None})
    writer: Any = None

    def write(step: int, **content: Any) -> None:
        writer.write_event(Event(wall_time=time.time(), step=step, **content))

    def tell(row: Row) -> None:
        nonlocal writer
        step = row["env_steps"]
        values = [Summary.Value(tag=k, simple_value=v) for k, v in scalars(row).items()]
        try:
            if writer is None:
                writer = EventsWriter(str(place / "events"), f".{time.time_ns()}")
                write(step, session_log=SessionLog(status=SessionLog.START))
                write(step, summary=experiment)
                write(step, summary=started)
            write(step, summary=Summary(value=values))
            writer.flush()
        except Exception:
            writer = None  # What came of this row is not known: another file will have it.
            raise

    yield tell
    if writer is not None:
        write(0, summary=ended)
        writer.close()


def _wandb(folder: Path, config: Mapping[str, Any]) -> Telling:
    """A run of Weights & Biases, whose own environment variables say where, and as what."""
    import wandb

    run_id = _kept(folder / "wandb" / "run_id", lambda: uuid.uuid4().hex[:8])
    run = wandb.init(
        dir=folder,
        id=run_id,
        resume="allow",
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=os.environ.get("WANDB_NAME", folder.name),
        config={key: list(v) if isinstance(v, tuple) else v for key, v in config.items()},
        allow_val_change=True,
        reinit="create_new",  # Leave a run of the caller's own alone.
        settings=wandb.Settings(console="off"),
    )
    # A server knows the rows of before; an offline run is a new one, and is told them again.
    begun_at = run.starting_step

    def tell(row: Row) -> None:
        if row["env_steps"] >= begun_at:
            run.log(scalars(row), step=row["env_steps"])

    failed = False
    try:
        yield tell
    except (Exception, KeyboardInterrupt):
        failed = True
        raise
    finally:
        run.finish(exit_code=int(failed))


def _mlflow(folder: Path, config: Mapping[str, Any]) -> Telling:
    """A run of MLflow, wherever MLFLOW_TRACKING_URI says."""
    # Several minutes of attempts for each row, as MLflow makes by default, would stop training.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient()

    def begin() -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        run_id = client.create_run(experiment, run_name=folder.name).info.run_id
        client.log_batch(run_id, params=[Param(key, str(v)) for key, v in config.items()])
        return run_id

    run_id = _kept(folder / "mlflow_run_id", begin)
    client.update_run(run_id, status="RUNNING")
    told = client.get_run(run_id).data.metrics.get("env_steps", -1)

    def tell(row: Row) -> None:
        if row["env_steps"] > told:
            now, step = int(1000 * time.time()), row["env_steps"]
            metrics = [Metric(name, value, now, step) for name, value in scalars(row).items()]
            client.log_batch(run_id, metrics)

    status = "FINISHED"
    try:
        yield tell
    except (Exception, KeyboardInterrupt):
        status = "FAILED"
        raise
    finally:
        client.set_terminated(run_id, status)


TOOLS: dict[str, Callable[[Path, Mapping[str, Any]], Telling]] = {
    "csv": _csv,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
PACKAGES = {
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboardX",),
    "wandb": ("wandb",),
}


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The text in a file; what `make` gives where there is none yet, kept there from then on."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, make() + "\n")
    return path.read_text().strip()


def _members(value: Any) -> np.ndarray:
    """The numbers of all members, [P], or the one number, [1]; NaN for None."""
    return np.array(value, np.float64).ravel()


def _none_for_nan(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
