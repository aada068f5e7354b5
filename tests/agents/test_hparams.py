"""Numbers that a hyperparameter can never be are refused before anything is compiled."""

from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import pytest

import rljax
from rljax import agents
from rljax.errors import UsageError
from rljax.hparams import check_number, real


@pytest.mark.parametrize(
    ("agent", "name", "number", "said"),
    [
        ("ppo", "gamma", 9.9, "ppo: hparams.gamma must lie from 0 to 1, not be 9.9"),
        ("dqn", "tau", -0.1, "dqn: hparams.tau must lie from 0 to 1, not be -0.1"),
        ("ppo", "lr", -3e-4, "ppo: hparams.lr must be at least 0, not -0.0003"),
        ("ppo", "lr", float("nan"), "ppo: hparams.lr must be at least 0, not nan"),
        ("q_learning", "temperature", 0, "q_learning: hparams.temperature must be above 0, not 0"),
        ("sac", "lr", "1e-3", "sac: hparams.lr must be a number, not '1e-3'"),
        ("ppo", "lr", None, "ppo: hparams.lr must be a number, not None"),
    ],
)
def test_what_it_cannot_be_is_one_sentence(caplog, agent, name, number, said):
    factory = agents.factory(agent)
    with jax.log_compiles(), pytest.raises(UsageError) as error:
        factory(rljax.make("FrozenLake4x4"), hparams=factory.Hparams(**{name: number}))
    assert str(error.value) == said
    assert not [line for line in caplog.messages if line.startswith("Compiling")]


@pytest.mark.slow
def test_defaults_are_accepted():
    env, box, team = (rljax.make(name) for name in ("FrozenLake4x4", "Pendulum-v1", "TwoStep"))
    fits = dict.fromkeys(("ddpg", "td3", "d4pg", "mbpo"), box)
    fits |= dict.fromkeys(("ippo", "mappo", "iql", "vdn", "qmix", "maddpg", "matd3"), team)
    fits["alphazero"] = rljax.make("TicTacToeGame")
    for name in agents.AGENTS:
        bounds = {"v_min": 0.0, "v_max": 1.0} if name in ("rainbow", "d4pg") else {}
        agents.factory(name)(fits.get(name, env), **bounds)


def test_the_ends_of_a_range_are_accepted():
    env = rljax.make("FrozenLake4x4")
    for gamma in (0, 1, jnp.float32(0.5)):
        rljax.q_learning(env, hparams=rljax.q_learning.Hparams(gamma=gamma, lr=0))


def test_every_hyperparameter_has_bounds():
    for name in agents.AGENTS:
        missing = [
            f.name for f in fields(agents.factory(name).Hparams) if "bounds" not in f.metadata
        ]
        assert missing == [], name


def test_a_field_without_bounds_can_be_any_number():
    @dataclass(frozen=True)
    class Mine:
        target_entropy: float = real(-1.0)
        plain: float = 0.0

    for name in ("target_entropy", "plain"):
        check_number(Mine, name, (-3.0, 0.0, 1e9), "mine")
        with pytest.raises(UsageError, match="^mine must be a number, not nan$"):
            check_number(Mine(), name, (float("nan"),), "mine")
