"""Every public name has a docstring, and a place in the API reference, which is built here."""

import importlib
import inspect
import re
import shlex
import subprocess
import sys

import pages
import pytest

import rljax

[COMMAND] = [c for c in pages.commands(pages.ROOT / "CONTRIBUTING.md") if c.startswith("pdoc ")]
MODULES = [getattr(rljax, name) for name in rljax.__all__ if inspect.ismodule(getattr(rljax, name))]
PACKAGES = ["rljax", *(module.__name__ for module in MODULES if hasattr(module, "__all__"))]
PUBLIC = [
    (package, name) for package in PACKAGES for name in importlib.import_module(package).__all__
]


@pytest.mark.long
@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=lambda part: part)
def test_a_public_name_has_a_docstring_of_its_own(package, name):
    found = getattr(importlib.import_module(package), name)
    text = found.__doc__
    assert text and text.strip(), f"{package}.{name} says nothing of itself"
    # What dataclasses and partial objects say where nobody wrote anything.
    assert not text.startswith((f"{name}(", "partial(", "Create a new function")), text
    if not inspect.ismodule(found):
        assert re.search(r"[.:)\]]$", text.strip().splitlines()[0]) or "\n" in text.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The reference, built by the command of CONTRIBUTING.md; a warning of that command fails."""
    out = tmp_path_factory.mktemp("reference") / "site"
    words = [str(out) if word == "site" else word for word in shlex.split(COMMAND)[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "pdoc", *words],
        cwd=pages.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr and "warn" not in done.stderr, done.stderr
    return out


def page(site, module):
    inner = site / (module.replace(".", "/") + ".html")
    return inner.read_text()


@pytest.mark.long
def test_every_public_name_is_in_the_reference(site):
    missing = [
        f"{package}.{name}"
        for package, name in PUBLIC
        if f'id="{name}"' not in page(site, package)
        and not (site / package.replace(".", "/") / f"{name}.html").exists()
    ]
    assert not missing


@pytest.mark.long
def test_sections_and_examples_are_rendered(site):
    """Not as text that runs together: what is indented under `Args:` becomes a list."""
    text = page(site, "rljax")
    for agent in ("a2c", "dqn", "ppo", "pqn", "q_learning", "reinforce"):
        own = text.split(f'id="{agent}"')[1].split("</section>")[0]
        own = re.sub(r"<pre>.*?</pre>", "", own, flags=re.DOTALL)  # the source
        assert "<h6" in own and "<strong>num_envs" in own, agent
        assert "Args:" not in own and "`" not in own, agent
