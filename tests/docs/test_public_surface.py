"""What the pages name is public: every name resolves to one that a package exports."""

import ast
import importlib
import inspect
import pkgutil
import re

import pages
import pytest

import rljax

PAGES = [
    *(pages.ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((pages.ROOT / "docs").rglob("*.md")),
]
PACKAGES = {name for name in rljax.__all__ if inspect.ismodule(getattr(rljax, name))}
WRITTEN_BY_THE_READER = "rljax.agents.awr"  # docs/write_an_agent.md
NAME = r"[A-Za-z]\w*"
IN_PROSE = re.compile(rf"`((?:rljax|{'|'.join(sorted(PACKAGES))})(?:\.(?!py\b){NAME}\b)+)")


def exported(package) -> set[str]:
    """What a package exports; without `__all__`, its modules and what it defines itself."""
    if hasattr(package, "__all__"):
        return set(package.__all__)
    return {
        name
        for name, value in vars(package).items()
        if getattr(value, "__module__", None) == package.__name__ and not name.startswith("_")
    } | {module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))}


def unknown(dotted: str) -> str | None:
    """The sentence that says which part of a name, such as rljax.updates.gae, is not public."""
    found = rljax
    for part in dotted.split(".")[1:]:
        if inspect.ismodule(found):
            if part not in exported(found):
                return f"{dotted}: {found.__name__} does not export {part}"
            if hasattr(found, "__path__") and not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
        elif not hasattr(found, part):
            return f"{dotted}: {found!r} has no {part}"
        found = getattr(found, part)
    return None


def in_code(code: str) -> set[str]:
    """The dotted names of rljax in Python code, by whatever name they are imported."""
    names, bound = set(), {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            bound |= {a.asname or a.name: a.name for a in node.names if a.name.startswith("rljax")}
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("rljax"):
            bound |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    bound |= {package: f"rljax.{package}" for package in PACKAGES if package not in bound}
    for node in ast.walk(ast.parse(code)):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in bound:
            names.add(".".join([bound[node.id], *parts]))
    return names | set(bound.values()) - {f"rljax.{package}" for package in PACKAGES}


def named(page) -> set[str]:
    """The dotted names of rljax on a page, in code and in prose."""
    text = page.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    names = {
        name if name.startswith("rljax.") else f"rljax.{name}" for name in IN_PROSE.findall(prose)
    }
    for code in pages.code(page):
        names |= in_code(code)
    return {name for name in names if not name.startswith(WRITTEN_BY_THE_READER)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_name_on_a_page_is_public(page):
    assert not [words for name in sorted(named(page)) if (words := unknown(name))]


def test_pages_name_what_the_packages_are_for():
    everything = set().union(*map(named, PAGES))
    assert {"rljax.ppo", "rljax.updates.chain", "rljax.agents.on_policy"} <= everything


def test_a_name_that_is_not_public_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "See `rljax.pppo` and `ops.sample`.\n\n"
        "```python\nfrom rljax.agents.ppo import ppo\nfrom rljax import updates as u\n\n"
        "u.gae(1)\nu.chain.nothing\nother.thing\n```\n"
    )
    names = named(page)
    assert names == {
        "rljax.pppo",
        "rljax.ops.sample",
        "rljax.agents.ppo.ppo",
        "rljax.updates",
        "rljax.updates.gae",
        "rljax.updates.chain",
        "rljax.updates.chain.nothing",
    }
    wrong = {name for name in names if unknown(name)}
    assert wrong == {"rljax.pppo", "rljax.agents.ppo.ppo", "rljax.updates.chain.nothing"}


def test_a_module_without_all_exports_what_it_defines():
    module = importlib.import_module("rljax.collectives")
    assert {"psum", "pmean"} <= exported(module)
    assert not {"jax", "Any", "check_divides"} & exported(module)
