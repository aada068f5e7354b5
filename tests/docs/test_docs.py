import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import rljax
from rljax.cli import cli

ROOT = Path(__file__).parent.parent.parent
MODULES = [
    info.name
    for info in pkgutil.walk_packages(rljax.__path__, "rljax.")
    if not info.name.endswith("__main__")
]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def examples(name: str) -> int:
    module = importlib.import_module(name)
    return sum(len(found.examples) for found in doctest.DocTestFinder().find(module))


def with_examples() -> list:
    """Modules whose docstrings have examples; of some they train for seconds."""
    training = ("rljax.agents.distillation", "rljax.parallel.vmap", "rljax.tune.pbt")
    found = [name for name in MODULES if examples(name)]
    return [pytest.param(n, marks=pytest.mark.long) if n in training else n for n in found]


@pytest.mark.parametrize("name", with_examples())
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_names_are_all_there():
    assert sorted(rljax._PUBLIC) == rljax.__all__ == sorted(rljax.__all__)
    assert all(getattr(rljax, name) for name in rljax.__all__)


def anchors(page: Path) -> set[str]:
    """What a link may say behind `#`: headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_commands_in_pages_exist(page):
    text = page.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for link in re.findall(r"\]\(([^):]+)\)", prose):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    for command in re.findall(r"rljax (train|resume|[a-z-]+) (?:[A-Zr]|configs)", text):
        assert command in cli.commands, command
    for path in re.findall(r"configs/[a-z_/]+\.toml", text):
        assert (ROOT / path).exists(), path


def test_every_page_is_on_the_map():
    page = ROOT / "docs/README.md"
    links = re.findall(r"\]\(([^):#]+)", page.read_text())
    linked = {(page.parent / link).resolve() for link in links}
    assert {path for path in PAGES if path.parent == page.parent and path != page} <= linked


def test_every_test_that_holds_a_promise_exists():
    sources = {
        str(path.relative_to(ROOT / "tests").with_suffix("")): path.read_text()
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    everything = "\n".join(sources.values())
    for row in re.findall(r"^\| .* \| (`.*) \|$", (ROOT / "docs/promises.md").read_text(), re.M):
        for reference in re.findall(r"`([^`]+)`", row):
            file, _, function = reference.partition("::")
            assert file in sources or f"def {file.rstrip('._')}" in everything, reference
            assert not function or f"def {function.rstrip('._')}" in sources[file], reference
