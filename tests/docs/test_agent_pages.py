"""The pages of agents say what the code says, and there is one for each."""

import importlib
import inspect
import re
from dataclasses import fields

import pages
import pytest

from rljax import agents

FOLDER = pages.ROOT / "docs" / "agents"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.fixture(scope="module")
def agent_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(pages.ROOT / "scripts")
        return importlib.import_module("agent_pages")


def row(page):
    """A page whose agent is a variant of another's is checked among the slow tests."""
    quick = page.stem in ("ppo", "dqn", "sac", "q_learning")
    return pytest.param(page, id=page.stem, marks=() if quick else pytest.mark.slow)


CLI = pytest.param(pages.ROOT / "docs/cli.md", id="cli")


@pytest.mark.parametrize("page", [*map(row, PAGES), CLI])
def test_what_is_written_by_the_code_is_as_it_would_write_it(page, agent_pages):
    text = page.read_text()
    assert agent_pages.filled(text) == text, "run python scripts/agent_pages.py"
    assert len(re.findall("<!-- (?!end)", text)) == text.count("<!-- end -->")


@pytest.mark.parametrize("name", agents.AGENTS)
def test_every_agent_is_found_by_its_name_with_all_there_is_to_know(name):
    index = (FOLDER / "README.md").read_text()
    link = re.search(rf"^\| \[{name}\]\(([a-z0-9_]+\.md)", index, re.M)[1]
    text = (FOLDER / link).read_text()
    assert re.search(rf"^##? {name}$", text, re.M)
    assert "https://" in text and f"../../configs/{name}/" in text
    factory = agents.factory(name)
    elsewhere = ("env", "agent", "advantage", "auxiliary_loss")
    arguments = [p for p in inspect.signature(factory).parameters if p not in elsewhere]
    for known in {"total_env_steps", "schedule_env_steps", "first", "hparams"}:
        arguments.remove(known)
    for row in (*arguments, *(f.name for f in fields(factory.Hparams))):
        assert f"\n| `{row}` | " in text, row
    assert "`charts/episodic_return`" in text and "`losses/" in text


def test_words_come_from_where_the_field_is_declared(agent_pages):
    from rljax.agents import a2c, rainbow

    assert agent_pages.field_docs(a2c.Hparams)["lr"].startswith("Adam's learning rate")
    assert agent_pages.field_docs(rainbow.Hparams)["adam_eps"] == "Adam's denominator offset."
    words = agent_pages.argument_docs(agents.factory("dqn"))["exploration"]
    assert words.startswith('"epsilon_greedy"') and words.endswith("`actors.Exploration`.")


def test_code_is_shown_without_the_functions_inside_it(agent_pages):
    shown = agent_pages.code("rljax/agents/ppo.py", "update")
    assert "learn = chain(" in shown and "def policy_loss" not in shown
    assert shown.startswith("```python\ndef update(") and shown.endswith("policy_lag))\n```\n")
    with pytest.raises(LookupError, match="has no updat"):
        agent_pages.code("rljax/agents/ppo.py", "updat")
