"""Every block of Python in the README and in `docs/` that trains is run, and held to learn."""

import contextlib
import io
import re

import jax
import numpy as np
import pages
import pytest
from states import compiled_quickly

import rljax

README = pages.ROOT / "README.md"
IN_PYTHON = "In Python"
LOGGING = pages.ROOT / "docs/logging.md"
POPULATIONS = pages.ROOT / "docs/populations.md"
TRAINS = re.compile(
    r"rljax\.(train|iterate|halving|pbt)\(|\.step\)|sweeps\.run\(|on_policy\(|"
    r"(rljax\.|make\()(ppo|a2c|reinforce|dqn|rainbow|pqn|q_learning|sarsa)\("
)
"""What trains, and what builds an agent for the reader to train."""

HELD_BY = {
    "README.md: env = rljax.make": ["test_snippets::test_the_agent_of_the_readme_learns"],
    "README.md: cartpole, lake = ": ["test_snippets::test_all_parts_together_learn"],
    "README.md: def awr(": ["test_composition::test_the_new_algorithm_is_short_and_learns"],
    "devices.md: agent = rljax.ppo(": ["test_jobs::test_the_page_s_code_runs"],
    "devices.md: def columns(": ["test_jobs::test_the_page_s_code_runs"],
    "logging.md: with rljax.Logger(": ["test_snippets::test_the_page_of_loggers_logs"],
    "logging.md: rljax.train(": ["test_snippets::test_the_page_of_loggers_logs"],
    "notebook.md: agent = rljax.ppo(": ["test_tutorial::test_the_notebook_s_loop_goes_on_"],
    "notebook.md: for state, row in": ["test_tutorial::test_the_notebook_s_loop_goes_on_"],
    "populations.md: agent = rljax.ppo(": ["test_snippets::test_the_page_of_populations_learns"],
    "populations.md: for rung in rljax.halving": [
        "test_snippets::test_the_page_of_populations_learns"
    ],
    "sweeps.md: space = ": ["sweeps/test_page::test_its_program_runs"],
}
