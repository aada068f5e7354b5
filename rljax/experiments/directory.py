"""A run directory: what is in it, how one begins, and how one is recognised."""

import json
import os
import platform
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rljax.errors import RunError, UsageError
from rljax.experiments.config import Config, load


class Place:
    """A file or folder of a directory, by its name: of a directory at `path`, `path / name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, directory: Any, kind: type | None = None) -> Path:
        return Path(self.name) if directory is None else directory.path / self.name


@dataclass(frozen=True)
class RunDirectory:
    """The places in a run directory; `config.toml` makes it one."""

    path: Path
    config = Place("config.toml")
    """The resolved config, with where each value came from."""
    metrics = Place("metrics.jsonl")
    """One JSON object a row."""
    checkpoints = Place("checkpoints")
    """One directory for each iteration kept."""
    curve = Place("curve.png")
    """The learning curve."""
    evaluation = Place("evaluation.json")
    """The evaluation at the end, as `rljax eval --json` prints it."""

    compression = Place("compression.json")
    """Of a run that `rljax compress` made: from which, how, and what each step was worth."""
    compression_plot = Place("compression.png")
    """Beside it: return against bytes."""

    def load_config(self) -> Config:
        """The config it was started with."""
        try:
            return load(self.config)
        except UsageError as error:
            raise RunError(f"run {self.path} has a damaged config.toml: {error}") from error

    def read_command(self) -> str:
        """What was typed, wherever `rljax` was installed; empty for a run begun from Python."""
        try:
            command = (self.path / "command.txt").read_text().strip()
            return re.sub(r"^\S*/rljax(/__main__\.py)?(?= )", "rljax", command)
        except (OSError, UnicodeDecodeError):
            return ""

    def read_system(self) -> dict[str, Any]:
        """What `system` found when the run began, or nothing where that cannot be read."""
        try:
            found = json.loads((self.path / "system.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_config(self, config: Config) -> None:
        """Replace config.toml in one step."""
        write_atomically(self.config, config.toml())


def default_path(config: Config) -> Path:
    """runs/{env}__{agent}__{seed}__{time}."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    top = config.top
    return Path("runs") / f"{top.env}__{top.agent}__{top.seed}__{stamp}"


def create(
    path: Path, config: Config, command: Sequence[str], may_exist: bool = False
) -> RunDirectory:
    """Begin a run in a directory that must not exist yet, or, with `may_exist`, not be a run.

    Raises RunError if it is in the way.
    """
    begin(path, command, may_exist and not is_run(path))
    run = RunDirectory(path)
    run.metrics.touch()
    run.write_config(config)  # Last: without it this is no run.
    return run


def begin(path: Path, command: Sequence[str], may_exist: bool = False) -> None:
    """Make a directory, and write what was typed and what `system` finds into it.

    Raises RunError if it exists, unless it may, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=may_exist)
    except FileExistsError:
        raise RunError(
            f"{path} exists already: go on with `rljax resume {path}`, or choose another --run-dir"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be created: {error.strerror}") from None
    (path / "command.txt").write_text(shlex.join(command) + "\n")
    (path / "system.json").write_text(json.dumps(system(), indent=2) + "\n")


def is_run(path: str | Path) -> bool:
    """Whether a run has begun there."""
    return RunDirectory(Path(path)).config.is_file()


def find(path: str | Path) -> RunDirectory:
    """The run at a path. Raises RunError for what is missing or not a run."""
    run = RunDirectory(Path(path))
    if not run.path.is_dir():
        raise RunError(f"run {path} does not exist")
    if not is_run(path):
        raise RunError(f"{path} is not a run: it has no config.toml")
    return run


def system() -> dict[str, object]:
    """Versions, devices and cores; nothing from the environment variables."""
    import jax

    packages = (
        "rljax-core",
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "gymnax",
        "orbax-checkpoint",
        "numpy",
    )
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "packages": {name: version(name) for name in packages},
    }


def version(package: str) -> str | None:
    """The version installed, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_out(out: Path, suffix: str) -> None:
    """Refuse, before work begins, a file of another kind or in a directory that is not there."""
    if out.suffix.lower() != suffix:
        raise UsageError(f"--out must be a {suffix} file, not {str(out)!r}")
    if not out.parent.is_dir():
        raise RunError(f"{out} cannot be written: there is no directory {out.parent}")
    if out.is_dir():
        raise RunError(f"{out} cannot be written: it is a directory")


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, never sees half of it."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
