"""Every block of Python in the pages that trains, or builds an agent to train, is in a test."""

import functools
import re

import jax
import numpy as np
import pages
import pytest
from states import compiled_quickly

import rljax
from rljax.agents import AGENTS
from rljax.envs import probes

README = pages.ROOT / "README.md"
COMPOSITION = pages.ROOT / "docs/composition.md"
LOGGING = pages.ROOT / "docs/logging.md"
POPULATIONS = pages.ROOT / "docs/populations.md"
TRAINS = re.compile(
    r"rljax\.(train|iterate|halving|pbt)\(|\.step\b|tune\.run\(|o(n|ff)_policy\(|"
    rf"rljax\.({'|'.join(AGENTS)})\b"
)
HELD_BY = {
    "actors.md: agent = rljax.distribute": "distributed/test_actors_page::test_the_code_",
    "README.md: agent = rljax.ppo": "docs/test_snippets::test_the_agent_of_the_readme_learns",
    "composition.md: agent = rljax.dqn": "docs/test_snippets::test_all_parts_of_rainbow_",
    "composition.md: make": "agents/test_composition::test_an_update_of_ones_own_serves_",
    "compression.md: agent = rljax.ppo": "agents/test_distilling::test_the_code_of_the_page_runs",
    "compression.md: small = rljax.ppo": "agents/test_distilling::test_the_code_of_the_page_runs",
    "devices.md: agent = rljax.ppo": "scripts/test_jobs::test_the_code_of_the_page_runs",
    "devices.md: large = rljax.pmap": "scripts/test_jobs::test_the_code_of_the_page_runs",
    "impala.md: agent = agents.on_policy": "updates/test_lag::test_the_agent_of_the_page_lags",
    "logging.md: state, history = rljax.train": "docs/test_snippets::test_the_hooks_of_the_page_",
    "logging.md: rljax.train": "docs/test_snippets::test_the_hooks_of_the_page_",
    "many_agents.md: agent = rljax.vdn": "envs/test_agents::test_the_code_of_the_page_",
    "many_agents.md: one = rljax.dqn": "envs/test_agents::test_the_code_of_the_page_",
    "mcts.md: agent = rljax.mcts": "agents/test_mcts::test_the_code_of_the_page_",
    "notebook.md: agent = rljax.ppo": "docs/test_tutorial::test_the_notebook_s_loop_",
    "notebook.md: for state, row in rljax.iterate": "docs/test_tutorial::test_the_notebook_s_loop_",
    "performance.md: return jax.lax.scan": "cpu/test_compiler::test_the_loop_of_the_page_runs",
    "planning_tutorial.md: searcher = rljax.mcts": "docs/test_tutorial::test_the_tutorial_of_pl",
    "planning_tutorial.md: player = rljax.mcts": "docs/test_tutorial::test_the_tutorial_of_pl",
    "populations.md: agent = rljax.ppo": "docs/test_snippets::test_populations_as_on_",
    "populations.md: for rung in rljax.halving": "docs/test_snippets::test_populations_as_on_",
    "simulators.md: agent = rljax.ppo": "envs/test_gymnasium::test_the_code_of_the_page_runs",
    "simulators.md: steps = simulator.step": "envs/test_gymnasium::test_the_code_of_the_page_runs",
    "sweeps.md: result = tune.run": "tune/test_page::test_its_program_runs",
    "tutorial.md: agent = rljax.q_learning": "docs/test_tutorial::test_the_tables_walk_as_it_says",
    "tutorial.md: mine = agents.on_policy": "docs/test_tutorial::test_q_learning_from_",
    "tutorial.md: agent = rljax.dqn": "docs/test_tutorial::test_deep_agents_learn_what_it_says",
    "tutorial.md: agent = rljax.ppo": "docs/test_tutorial::test_deep_agents_learn_what_it_says",
    "tutorial.md: states = jax.jit": "docs/test_tutorial::test_deep_agents_learn_what_it_says",
    "tutorial.md: spread = rljax.pmap": "docs/test_tutorial::test_pictures_come_out_as_shown",
    "write_an_agent.md: return agents.on_policy": "docs/test_write_an_agent::test_it_learns_",
    "write_an_agent.md: state, history = rljax.train": "docs/test_write_an_agent::test_it_learns_",
}
"""By the page and the first line of a block that matches, up to its parenthesis."""


def trained_on(page) -> list[str]:
    """The keys of a page's blocks that train."""
    found = []
    for block in pages.blocks(page):
        lines = [line for line in block.code.splitlines() if TRAINS.search(line)]
        if block.language == "python" and lines:
            found.append(f"{page.name}: {lines[0].strip().partition('(')[0]}")
    return found


def test_every_block_that_trains_is_known_and_held_by_a_test():
    everywhere = [README, *sorted((pages.ROOT / "docs").rglob("*.md"))]
    assert sorted(key for page in everywhere for key in trained_on(page)) == sorted(HELD_BY)
    for reference in HELD_BY.values():
        file, _, function = reference.partition("::")
        assert f"def {function}" in (pages.ROOT / "tests" / f"{file}.py").read_text(), reference


def test_a_block_that_trains_is_seen(tmp_path):
    page = tmp_path / "page.md"
    for line in ("state, _ = agent.step(state)", "for s, r in rljax.iterate(agent, s):"):
        page.write_text(f"```python\nimport rljax\n\n{line}\n```\n")
        assert trained_on(page) == [f"page.md: {line.partition('(')[0]}"]
    page.write_text("```python\nimport rljax\n\nagent, state = rljax.load('runs')\n```\n")
    assert not trained_on(page)


def greedy_returns(agent, state) -> np.ndarray:
    """Mean returns [P] of a population's members, with greedy actions or modes."""
    played = rljax.evaluate(agent, state, jax.random.key(1), num_episodes=64)
    assert played.finished.all()
    return np.asarray(played.returns).mean(axis=1)


def shortened(code: str, replacing: dict[str, str]) -> str:
    for before, after in replacing.items():
        assert before in code, before
        code = code.replace(before, after)
    return code


@pytest.fixture
def in_python():
    """The block of the README's section "In Python"."""
    [block] = [b for b in pages.blocks(README, "In Python") if b.language == "python"]
    return block


@pytest.mark.long
def test_what_the_readme_says_of_python_runs(in_python, monkeypatch):
    smaller = {
        "num_envs=64": "num_envs=8",
        "rollout_length=128": "rollout_length=16",
        "total_env_steps=1_000_000": "total_env_steps=256",
    }
    block = in_python._replace(code=shortened(in_python.code, smaller))
    names: dict = {}
    build = rljax.ppo

    @functools.wraps(build)
    def ppo(*arguments, **options):
        agent = build(*arguments, **options)
        return agent._replace(init=jax.jit(agent.init))  # one program, not one for each operation

    def load(path):
        assert path == "runs/first"  # There is no such run: what it gives is what was trained.
        return names["agent"], names["state"]

    monkeypatch.setattr(rljax, "ppo", ppo)
    monkeypatch.setattr(rljax, "load", load)
    with compiled_quickly():
        pages.run(block, README, names)
    assert names["states"].iteration.shape == (32,)
    assert names["history"]["env_steps"].tolist() == [128, 256]
    assert np.size(names["result"].returns) == 64
    assert names["state"].iteration == 1 and names["spread"].num_iterations == 2


def test_the_readme_is_read_in_four_minutes(in_python):
    assert len(README.read_text().split()) <= 900
    assert len([line for line in in_python.code.splitlines() if line]) <= 20


@pytest.mark.slow
def test_the_agent_of_the_readme_learns(in_python):
    names: dict = {}
    code, _, rest = in_python.code.partition("state, history = ")
    assert rest
    pages.run(in_python._replace(code=code), README, names)
    population = rljax.vmap(names["agent"])
    assert population.num_iterations == 123  # of 64 x 128 steps: a million
    state, _ = rljax.train(population, jax.random.split(jax.random.key(0), 8))
    returns = greedy_returns(population, state)
    # Eight seeds had 499 on average, and 491 at least; without a step size 66 on average.
    assert returns.mean() > 450, returns


@pytest.mark.slow
def test_all_parts_of_rainbow_together_learn():
    names: dict = {}
    exec(pages.code(COMPOSITION, "From double DQN to Rainbow")[0], names)
    agent = rljax.dqn(names["cartpole"], **names["parts"], total_env_steps=200_000)
    population = rljax.vmap(agent)
    state, _ = rljax.train(population, jax.random.split(jax.random.key(0), 2))
    returns = greedy_returns(population, state)
    # Six seeds had 500, 500, 491, 459, 451 and 115; without a step size eight had 16, 46 at most.
    assert returns.mean() > 200, returns


@pytest.mark.long
def test_the_hooks_of_the_page_on_logging_are_told_every_row(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    agent = rljax.ppo(
        rljax.make("CartPole-v1"),
        num_envs=4,
        rollout_length=8,
        num_epochs=1,
        hidden=(8,),
        total_env_steps=96,
    )
    names = {"rljax": rljax, "jax": jax, "agent": agent}
    blocks = [block for block in pages.blocks(LOGGING) if block.language == "python"]
    with compiled_quickly():
        for block in blocks:
            pages.run(block, LOGGING, names)
    assert len(blocks) == 2 and list((tmp_path / "runs/mine/tensorboard").iterdir())
    assert capsys.readouterr().out.split() == ["32", "64", "96"]
    assert names["history"]["env_steps"].tolist() == [32, 64, 96]


@pytest.mark.parametrize(
    "length",
    [
        pytest.param("short", marks=pytest.mark.long),
        pytest.param("full", marks=pytest.mark.slow),
    ],
)
def test_populations_as_on_their_page_select_and_learn(length, capsys):
    smaller = {
        # Episodes of three steps, which also compile sooner.
        'rljax.make("Acrobot-v1"), total_env_steps=300_000': "probes.Recall(), **sizes",
        "jax.random.key(0), 16)": "jax.random.key(0), 4)",
        "jax.random.key(0), 27)": "jax.random.key(0), 3)",
    }
    sizes = {"num_envs": 4, "rollout_length": 8, "total_env_steps": 96, "hidden": (8,)}
    names: dict = {"probes": probes, "sizes": {**sizes, "num_epochs": 1, "num_minibatches": 1}}
    for block in pages.blocks(POPULATIONS):
        if block.language == "python" and length == "full":
            pages.run(block, POPULATIONS, names)
        elif block.language == "python":
            here = {old: new for old, new in smaller.items() if old in block.code}
            block = block._replace(code=shortened(block.code, here))
            with compiled_quickly():
                pages.run(block, POPULATIONS, names)
    rungs = re.findall(r"^\d+ \[", capsys.readouterr().out, re.M)
    assert len(rungs) == (4 if length == "full" else 2) and len(names["rung"].members) == 1
    if length == "full":
        # 500 steps without an end are worth -500. The last had -81, and the population -80 to -88.
        members = greedy_returns(names["population"], names["states"])
        assert names["rung"].fitness[0] > -100 and members.max() > -100, members
