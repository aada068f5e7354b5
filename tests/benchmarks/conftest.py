import importlib

import pages
import pytest

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
