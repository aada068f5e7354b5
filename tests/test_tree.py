"""The tree explains itself: imports go one way, and what packages export is theirs."""

import ast
import importlib
import inspect
import pkgutil

import pages
import pytest

import rljax

ROOMS = [
    "errors",
    "hparams",
    "types",
    "statistics",
    "collectives",
    "_cpu",
    "envs",
    "ops",
    "networks",
    "actors",
    "replay",
    "updates",
    "agents",
    "parallel",
    "distributed",
    "training",
    "experiments",
    "exports",
    "serving",
    "analysis",
    "compression",
    "tune",
    "cli",
]
"""From the bottom to the top: each imports from those before it."""
SOURCES = sorted((pages.ROOT / "rljax").rglob("*.py"))
PACKAGES = [m.name for m in pkgutil.iter_modules(rljax.__path__) if m.ispkg and m.name != "_cpu"]


def imported(source) -> set[str]:
    """The rooms that a file imports from, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("rljax.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rljax":
            inner = node.module.split(".")[1:2]
            found |= set(inner) if inner else {alias.name for alias in node.names}
    return found & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room):
    folder = pages.ROOT / "rljax" / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    above = set(ROOMS[ROOMS.index(room) + 1 :])
    assert {str(f): rooms for f in files if (rooms := imported(f) & above)} == {}


def test_every_file_is_in_a_room():
    tops = {path.relative_to(pages.ROOT / "rljax").parts[0] for path in SOURCES}
    assert tops - {"__init__.py", "__main__.py"} == {
        room if (pages.ROOT / "rljax" / room).is_dir() else f"{room}.py" for room in ROOMS
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_that_is_exported_hides_a_module(package):
    loaded = importlib.import_module(f"rljax.{package}")
    modules = {m.name for m in pkgutil.iter_modules(loaded.__path__)}
    exported = set(getattr(loaded, "__all__", ()))
    assert {n for n in exported & modules if not inspect.ismodule(getattr(loaded, n))} == set()
