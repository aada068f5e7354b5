"""The agent of docs/write_an_agent.md: its blocks are one file, and one line registers it."""

import importlib
import re
import sys

import jax
import numpy as np
import pages
import pytest
from states import compiled_quickly

import rljax
from rljax import agents
from rljax.cli import main

PAGE = pages.ROOT / "docs/write_an_agent.md"
*FILE, USE = (block for block in pages.blocks(PAGE) if block.language == "python")
[REGISTRY] = (block for block in pages.blocks(PAGE) if block.language == "text")
CONFIG = """
env = "CartPole-v1"
agent = "awr"
total_env_steps = 1024
[structure]
num_envs = 8
hidden = [8]
[hparams]
temperature = 2.0
[logging]
plot = false
"""


@pytest.fixture(scope="module")
def awr(tmp_path_factory):
    """The factory, from a file that holds what the page says and is registered as it says."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "awr.py").write_text("\n".join(block.code for block in FILE))
    name, place = re.fullmatch(r' +"(.*)": "(.*)",\n', REGISTRY.code).groups()
    assert place == "rljax.agents.awr:awr"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setitem(agents.AGENTS, name, "awr:awr")
        yield importlib.import_module("awr").awr
    del sys.modules["awr"]


def test_it_is_about_80_lines():
    lines = [line for block in FILE for line in block.code.splitlines() if line]
    assert 60 < len(lines) <= 90


@pytest.mark.long
def test_it_learns_with_what_the_page_shows(awr):
    lines = USE.code.splitlines(keepends=True)
    ours, build = "from rljax.agents.awr import awr\n", 'awr(rljax.make("CartPole-v1"))'
    code = "".join(line for line in lines if line != ours)
    assert ours in lines and build in code
    shorter = build.replace("))", "), num_envs=16, total_env_steps=60_000)")
    names = {"awr": awr, "jax": jax}
    pages.run(USE._replace(code=code.replace(build, shorter)), PAGE, names)
    returns = names["history"]["charts/episodic_return"]
    assert np.nanmean(returns[-10:]) > 3 * np.nanmean(returns[:5])
    assert np.mean(names["result"].returns) > 100  # A random policy has 22.


@pytest.mark.long
def test_the_command_line_knows_it_by_its_name(awr, tmp_path):
    (tmp_path / "awr.toml").write_text(CONFIG)
    with compiled_quickly():
        assert main(["train", str(tmp_path / "awr.toml"), "--run-dir", str(tmp_path / "run")]) == 0
    agent, state = rljax.load(tmp_path / "run")
    assert state.hparams.temperature == 2.0 and agent.env_steps_per_iteration == 8 * 32


def test_a_field_that_nobody_writes_is_named(awr):
    drop = rljax.updates.stateless(lambda params, batch, key: (batch.annotate(), {}))
    awr(rljax.make("CartPole-v1"), first=drop)  # An update in front of it that writes nothing.
    reads = rljax.updates.stateless(lambda params, batch, key: (batch.extras["weight"], {}))
    with pytest.raises(KeyError, match="reads extras\\['weight'\\], which nothing before it wrote"):
        awr(rljax.make("CartPole-v1"), first=reads)
