"""The agent that these tests train."""

import pytest
from small import SMALL

import rljax


@pytest.fixture(scope="session")
def agent(cartpole):
    return rljax.ppo(cartpole, total_env_steps=32 * 10, **SMALL)
