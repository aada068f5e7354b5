import importlib
import json

import pages
import pytest
from runs import finished, tiny  # noqa: F401

from rljax.cli import bench

bench.load(pages.ROOT)  # Test modules import the package; the tests may run on an installed wheel.


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    """`rljax bench` finds the benchmarks, also if rljax itself is installed as a wheel."""
    monkeypatch.setattr(bench, "CHECKOUT", pages.ROOT)


@pytest.fixture
def study(monkeypatch):
    """A function from the name of a study to its module."""
    monkeypatch.syspath_prepend(pages.ROOT / "benchmarks/studies")
    return importlib.import_module


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Both sides are scripts that answer what they are told; gives the log of their calls."""
    from fake_sides import FAKE

    from benchmarks import measuring
    from benchmarks.libraries import LIBRARIES, Library

    log = tmp_path / "log"
    for name in ("rljax", "fake"):
        (tmp_path / f"run_{name}.py").write_text(FAKE.format(log=str(log)))
    monkeypatch.setattr(measuring, "SIDES", tmp_path)
    monkeypatch.setitem(LIBRARIES, "fake", Library("Fake", "run_fake", "is no library"))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def stored(sides, tmp_path):
    """A file of results with a ratio, and with a curve of seeds."""
    from fake_sides import fake, measured

    from benchmarks import measuring, result_files

    path = tmp_path / "stored.json"
    found = result_files.begin(path)
    result_files.add(found, measured(fake("ppo", (2.0, 3.0, 16.0))))
    for seeds in (1, 2, 4):
        grows = fake(f"growth seeds {seeds}", None, curve=("seeds", seeds))
        result_files.add(found, measuring.measure(grows, {}, 1, lambda sentence: None))
    result_files.save(found, path)
    return path
