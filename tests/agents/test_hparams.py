"""Numbers that a hyperparameter can never be are refused before anything is compiled."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import pytest

import rljax
from rljax import agents
from rljax.errors import UsageError
from rljax.hparams import DIVISORS, FRACTIONS


@pytest.mark.parametrize(
    ("agent", "name", "number", "said"),
    [
        ("ppo", "gamma", 9.9, "ppo: hparams.gamma must lie from 0 to 1, not be 9.9"),
        ("dqn", "tau", -0.1, "dqn: hparams.tau must lie from 0 to 1, not be -0.1"),
        ("ppo", "lr", -3e-4, "ppo: hparams.lr must be at least 0, not -0.0003"),
        ("ppo", "lr", float("nan"), "ppo: hparams.lr must be at least 0, not nan"),
        ("q_learning", "temperature", 0, "q_learning: hparams.temperature must be above 0, not 0"),
    ],
)
def test_what_it_cannot_be_is_one_sentence(caplog, agent, name, number, said):
    factory = agents.factory(agent)
    with jax.log_compiles(), pytest.raises(UsageError) as error:
        factory(rljax.make("FrozenLake4x4"), hparams=factory.Hparams(**{name: number}))
    assert str(error.value) == said
    assert not [line for line in caplog.messages if line.startswith("Compiling")]


def test_defaults_and_the_ends_of_a_range_are_accepted():
    env = rljax.make("FrozenLake4x4")
    for name in agents.AGENTS:
        bounds = {"v_min": 0.0, "v_max": 1.0} if name == "rainbow" else {}
        agents.factory(name)(env, **bounds)
    for gamma in (0, 1, jnp.float32(0.5)):
        rljax.q_learning(env, hparams=rljax.q_learning.Hparams(gamma=gamma, lr=0))


def test_every_name_is_that_of_a_hyperparameter():
    known = {f.name for name in agents.AGENTS for f in fields(agents.factory(name).Hparams)}
    assert known >= FRACTIONS | DIVISORS
