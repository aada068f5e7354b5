"""Environments of several agents: what wrappers make of them, their returns, and refusals."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pages
import pytest

import rljax
from rljax.envs import probes, spaces
from rljax.envs.agents import groups_of, joint_return, team_returns
from rljax.envs.teams import as_one, as_team, described
from rljax.errors import UsageError

ENV = probes.Signals()
KEY = jax.random.key(0)


@dataclass(frozen=True)
class Rivals(probes.Signals):
    """Signals, in which each agent is a team of its own."""

    teams = ((0,), (1,))


@dataclass(frozen=True)
class Sharing(probes.Signals):
    """Signals, whose rewards stand for one that both share."""

    shared_reward = True


def test_returns_are_sums_or_what_a_team_shares_and_means_over_several_teams():
    returns = jnp.array([[1.0, 2.0], [3.0, 5.0]])
    np.testing.assert_array_equal(team_returns(ENV, returns), [[3], [8]])
    np.testing.assert_array_equal(joint_return(ENV, returns), [3, 8])
    np.testing.assert_array_equal(joint_return(Sharing(), returns), [1.5, 4])
    np.testing.assert_array_equal(team_returns(Rivals(), returns), returns)
    np.testing.assert_array_equal(joint_return(Rivals(), returns), [1.5, 4])
    np.testing.assert_array_equal(joint_return(probes.Recall(), returns[0]), returns[0])


def test_an_observation_is_described_by_what_is_asked_for():
    env = described(ENV, index=True, state=True)
    state, obs = env.reset(KEY)
    np.testing.assert_array_equal(obs["own"], ENV.reset(KEY)[1])
    np.testing.assert_array_equal(obs["agent"], np.eye(2))
    np.testing.assert_array_equal(obs["state"], [[*state[1], 0.0]] * 2)
    _, after, reward, terminated, _ = env.step(KEY, state, jnp.array([1, 0]))
    _, own, paid, over, _ = ENV.step(KEY, state, jnp.array([1, 0]))
    np.testing.assert_array_equal(after["own"], own)
    np.testing.assert_array_equal(after["state"][:, 2], [1, 1])
    np.testing.assert_array_equal(reward, paid)
    assert terminated == over and set(described(ENV, index=False).reset(KEY)[1]) == {"own"}


@pytest.mark.parametrize(
    "env",
    [ENV, described(ENV, state=True), as_team(probes.LegalActions()), as_one(ENV)],
    ids=["several", "described", "as_team", "as_one"],
)
def test_check_env_finds_nothing(env):
    assert not [finding for finding in rljax.check_env(env) if finding.is_error]


def test_check_env_wants_a_reward_for_each_agent():
    @dataclass(frozen=True)
    class One(probes.Signals):
        def step(self, key, state, action):
            state, obs, reward, *ends = super().step(key, state, action)
            return state, obs, reward.sum(), *ends

    (finding,) = rljax.check_env(One())
    assert "should be [2]: one for each of the 2 agents" in finding.sentence


def test_a_team_of_one_is_the_environment():
    env, team = probes.LegalActions(), as_team(probes.LegalActions())
    state, obs = team.reset(KEY)
    np.testing.assert_array_equal(obs, [0])
    np.testing.assert_array_equal(team.action_mask(state), [env.action_mask(state)])
    _, obs, reward, *_ = team.step(KEY, state, jnp.array([0]))
    assert obs.shape == reward.shape == (1,) and reward == 1
    assert not hasattr(as_team(probes.Recall()), "action_mask")


def test_one_agent_for_all_chooses_each_combination_of_actions_once():
    one = as_one(ENV)
    assert one.action_space.n == 4 and one.observation_space.shape == (2, 1)
    state, _ = ENV.reset(KEY)
    paid = [float(one.step(KEY, state, jnp.int32(action))[2]) for action in range(4)]
    apart = [
        float(ENV.step(KEY, state, jnp.array(both))[2].sum())
        for both in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]
    assert paid == apart and sorted(paid) == [0, 0, 0, 3]


def test_groups_are_one_for_all_one_a_team_or_one_for_each():
    env = replace(Rivals())
    assert groups_of(env, "shared", "ippo") == (0, 0)
    assert groups_of(env, "teams", "ippo") == groups_of(ENV, "own", "ippo") == (0, 1)
    assert groups_of(ENV, "teams", "ippo") == (0, 0)


@pytest.mark.long
def test_the_code_of_the_page_builds_agents():
    built = {}
    for code in pages.code(pages.ROOT / "docs" / "many_agents.md"):
        exec(code, built)
    assert built["one"].env.action_space.n == 4
    _, metrics = jax.jit(lambda key: built["agent"].step(built["agent"].init(key)))(KEY)
    assert np.isfinite(metrics["losses/td_loss"])


@dataclass(frozen=True)
class Forgotten(probes.Signals):
    teams = ((0,),)


@dataclass(frozen=True)
class Masked(probes.Signals):
    """Signals with a mask of one agent alone."""

    def action_mask(self, state):
        return jnp.ones(2, bool)


@dataclass(frozen=True)
class Blind:
    """What has several agents, but no global state."""

    name = "Blind"
    agents, teams, shared_reward = ENV.agents, ENV.teams, True
    observation_space, action_space = ENV.observation_space, spaces.Discrete(200)
    reset, step = ENV.reset, ENV.step


class Unbounded(Blind):
    """What has continuous actions of any size."""

    action_space = spaces.Box(-np.inf, np.inf, (2,))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: rljax.ppo(ENV), "ppo trains one agent, and 2 act in Signals: use ippo"),
        (lambda: rljax.dqn(ENV), "dqn trains one agent, and 2 act in Signals"),
        (lambda: rljax.sac(ENV), "sac trains one agent, and 2 act in Signals"),
        (lambda: rljax.q_learning(ENV), "q_learning trains one agent"),
        (
            lambda: rljax.ippo(probes.Recall()),
            r"Recall has one: .* rljax.envs.teams.as_team\(env\)",
        ),
        (lambda: rljax.qmix(probes.Recall()), "qmix trains several agents, and Recall has one"),
        (lambda: rljax.vdn(Rivals()), "vdn learns the return of one team, and Signals has 2"),
        (lambda: rljax.ippo(Forgotten()), "must name each place from 0 to 1 of its agents once"),
        (lambda: rljax.mappo(Blind()), "mappo reads a global state, and Blind has none"),
        (lambda: rljax.qmix(Blind()), "qmix reads a global state, and Blind has none"),
        (lambda: rljax.ippo(ENV, parameters="all"), "parameters 'all' is not known"),
        (lambda: rljax.qmix(ENV, mixer="product"), "mixer 'product' is not known"),
        (lambda: rljax.vdn(ENV, head="qr"), "vdn mixes values, not distributions"),
        (
            lambda: rljax.ddpg(ENV),
            "ddpg trains one agent, and 2 act in Signals: .* maddpg or matd3",
        ),
        (lambda: rljax.maddpg(probes.Recall()), "maddpg trains several agents, and Recall has one"),
        (lambda: rljax.maddpg(Unbounded()), "maddpg needs actions with finite bounds"),
        (lambda: rljax.maddpg(ENV, noise="gaussian"), "noise 'gaussian' is for actions of a Box"),
        (lambda: rljax.maddpg(ENV, network="gru"), "maddpg learns from single steps"),
        (lambda: rljax.maddpg(ENV, hparams=rljax.ddpg.Hparams()), "must be maddpg's Hparams"),
        (lambda: rljax.matd3(ENV, relaxation="hard"), "relaxation 'hard' is not known"),
        (lambda: rljax.ippo(Masked()), r"gives bool\[2\], where bool\[2, 2\] is due"),
        (
            lambda: rljax.vdn(ENV, prioritized=True, initial_priorities=True),
            'need prioritized = True, head = "scalar" and no mixer',
        ),
        (lambda: as_one(Blind()), "Blind has 40,000 combinations of actions"),
        (lambda: as_one(probes.Recall()), "Recall has one"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()
