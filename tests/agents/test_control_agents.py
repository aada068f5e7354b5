"""Actor-critics with a replay: what they solve, what they refuse, and how they differ."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit
from still import Still
from test_contracts import AGENTS

import rljax
from rljax.envs import probes, spaces
from rljax.errors import UsageError

CONTINUOUS = ("ddpg", "td3", "d4pg", "sac", "tqc", "crossq")
BOX = spaces.Box(-1.0, 1.0, (2,))
DISCRETE = Still(BOX, spaces.Discrete(3))
SMALL: dict[str, Any] = {
    "num_envs": 4,
    "buffer_size": 100,
    "batch_size": 8,
    "warmup_env_steps": 40,
    "hidden": (8,),
}
ATOMS = {"v_min": -1.0, "v_max": 1.0, "num_atoms": 5}


def build(name: str, env=None, **options):
    atoms = ATOMS if name == "d4pg" else {}
    return getattr(rljax, name)(env or Still(BOX, BOX), **{**SMALL, **atoms, **options})


def refusal(name: str, env=None, **options) -> str:
    with pytest.raises(UsageError) as error:
        build(name, env, **options)
    message = str(error.value)
    assert "\n" not in message and len(message) < 250
    return message


@pytest.mark.parametrize("name", ["ddpg", "td3", "d4pg"])
def test_discrete_actions_are_refused_by_name_of_who_takes_them(name):
    message = refusal(name, DISCRETE)
    assert message.startswith(f"{name} needs a Box of one axis") and "use sac" in message


@pytest.mark.parametrize("name", CONTINUOUS)
def test_actions_without_bounds_are_refused(name):
    message = refusal(name, Still(BOX, spaces.Box(-np.inf, np.inf, (2,))))
    assert message.startswith(f"{name} needs actions with finite bounds") and "ppo" in message


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("ddpg", {"noise": "ornstein"}, "did you mean 'ornstein_uhlenbeck'?"),
        ("sac", {"env": DISCRETE, "noise": "gaussian"}, "noise 'gaussian' is for actions of a Box"),
        ("td3", {"policy_delay": 0}, "period must be a whole number of at least 1, not 0"),
        ("td3", {"num_critics": 0}, "num_critics must be a whole number of at least 1"),
        ("d4pg", {"v_min": None}, "value head 'c51' needs v_min and v_max"),
        ("d4pg", {"head": "iqn"}, 'd4pg has no fractions to sample: use head "scalar"'),
        (
            "d4pg",
            {"n_step": 11},
            "n_step = 11 is more than the 10 steps of each environment in the warm-up",
        ),
        ("sac", {"target_critics": 3}, "target_critics = 3 is more than num_critics = 2"),
        ("sac", {"target_critics": 0}, "target_critics must be a whole number of at least 1"),
        ("sac", {"policy_values": "mean"}, "there is average, least"),
        ("sac", {"network": "gru"}, "sac learns from single steps"),
        ("sac", {"warmup_env_steps": 101}, "warmup_env_steps = 101 is more than buffer_size = 100"),
        ("tqc", {"num_quantiles": 2, "dropped_quantiles": 2}, "dropped_quantiles = 2 is more than"),
        (
            "tqc",
            {"dropped_quantiles": -1},
            "dropped_quantiles must be a whole number of at least 0",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(name, options, said):
    assert said in refusal(name, **options)


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("tau", 1.5, "sac: hparams.tau must lie from 0 to 1, not be 1.5"),
        ("temperature", 0.0, "sac: hparams.temperature must be above 0, not 0"),
        ("target_entropy", 0.7, "sac: hparams.target_entropy must be at most 0.693147, not 0.7"),
        (
            "target_entropy_fraction",
            1.2,
            "sac: hparams.target_entropy_fraction must lie from 0 to 1, not be 1.2",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(name, number, said):
    assert refusal("sac", hparams=replace(rljax.sac.Hparams(), **{name: number})) == said


def test_hyperparameters_belong_to_the_agent():
    for name in CONTINUOUS:
        message = refusal(name, hparams=rljax.dqn.Hparams())
        assert f"{name}'s Hparams" in message


@dataclass(frozen=True)
class Flow:
    """The probe of constant rewards, with an action that does not count."""

    length: int = 5
    truncates: bool = True
    name = "Flow"
    action_space = spaces.Box(-2.0, 2.0, (1,))

    @property
    def inner(self):
        return probes.ConstantReward(self.length, self.truncates)

    @property
    def observation_space(self):
        return self.inner.observation_space

    def reset(self, key):
        return self.inner.reset(key)

    def step(self, key, state, action):
        return self.inner.step(key, state, jnp.int32(0))


LEARNING: dict[str, Any] = {
    "num_envs": 8,
    "rollout_length": 4,
    "buffer_size": 1_024,
    "batch_size": 64,
    "updates_per_iteration": 8,
    "warmup_env_steps": 256,
    "total_env_steps": 6_000,
    "hidden": (16,),
}
GAMMA = 0.9


def trained(name: str, env, seeds: int = 2, lr: float = 1e-2, **options):
    factory = getattr(rljax, name)
    hparams = replace(factory.Hparams(), gamma=GAMMA, lr=lr, tau=0.05)
    if hasattr(hparams, "temperature"):
        hparams = replace(hparams, temperature=1e-3)
    agent = factory(env, hparams=hparams, **{**LEARNING, **options})

    def run(key):
        state = agent.init(key)
        return jax.lax.scan(lambda s, _: (agent.step(s)[0], None), state, length=179)[0]

    return agent, jit(jax.vmap(run))(jax.random.split(jax.random.key(0), seeds))


@pytest.mark.parametrize("truncates", [True, False])
@pytest.mark.parametrize("name", ["td3", pytest.param("sac", marks=pytest.mark.slow)])
@pytest.mark.long
def test_truncation_bootstraps_and_termination_does_not(name, truncates):
    options = {"learn_temperature": False} if name == "sac" else {}
    env = Flow(truncates=truncates)
    _, states = trained(name, env, **options)
    made = rljax.networks.actor_and_critics(
        env, hidden=(16,), value=rljax.networks.scalar(), num_critics=2, stochastic=name == "sac"
    )
    time = np.arange(5)

    def values(params):
        obs = jnp.arange(5)[None]
        return made.estimate(params, obs, jnp.zeros((1, 5, 1)))[:, 0, :, 0]

    found = np.asarray(jax.vmap(values)(states.learner.params))
    expected = 1 / (1 - GAMMA) if truncates else (1 - GAMMA ** (5 - time)) / (1 - GAMMA)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=0.1)


@pytest.mark.parametrize(
    "name",
    ["ddpg", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sac", "td3", "d4pg", "tqc"))],
)
@pytest.mark.long
def test_the_best_action_is_found_and_without_a_step_size_it_is_not(name):
    env = probes.ContinuousTarget()
    options = {"learn_temperature": False} if name in ("sac", "tqc") else {}
    if name == "d4pg":
        # Atoms are slow to learn. A policy that runs ahead of them saturates its tanh for good.
        options = {"v_min": -13.0, "v_max": 0.0, "layer_norm": True}

    def score(lr):
        agent, states = trained(name, env, lr=lr, **options)
        obs = jnp.linspace(-1, 1, 21)[:, None]
        best = jax.vmap(lambda s: agent.act(s, obs, agent.initial_carry((21,)), None)[0])(states)
        return float(np.mean(np.square(np.asarray(best) - 1.5 * np.asarray(obs))))

    assert score(1e-2) < 0.1 and score(0.0) > 0.5


@pytest.mark.long
def test_the_temperature_keeps_the_entropy_that_is_asked_for():
    agent, states = trained("sac", probes.ContinuousTarget())
    step = jit(jax.vmap(agent.step))
    entropies = []
    for _ in range(10):
        states, metrics = step(states)
        entropies.append(np.asarray(metrics["losses/entropy"]))
    np.testing.assert_allclose(np.mean(entropies, axis=0), [-1.0, -1.0], atol=0.25)


@pytest.mark.long
def test_an_update_of_ones_own_sees_every_step_once():
    def counted(params, batch, key):
        return batch, {"charts/steps": jnp.float32(batch.reward.size)}

    agent = AGENTS["sac"].make(first=rljax.updates.stateless(counted))
    _, metrics = jit(lambda key: agent.step(agent.init(key)))(jax.random.key(0))
    assert metrics["charts/steps"] == 32


@pytest.mark.long
def test_a_policy_that_is_delayed_moves_with_every_second_update():
    def moved(updates: int) -> bool:
        agent = build("td3", updates_per_iteration=1, total_env_steps=100)
        state = jit(agent.init)(jax.random.key(0))
        step = jit(agent.step)
        for _ in range(updates):
            before, state = state, step(state)[0]
        actors = (jax.tree.leaves(s.learner.params["actor"]) for s in (before, state))
        return any((x != y).any() for x, y in zip(*actors, strict=True))

    assert [moved(n) for n in (1, 2, 3)] == [True, False, True]
