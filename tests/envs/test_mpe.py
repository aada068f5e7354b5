"""The particle environments are those of mpe2, step by step."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs import spaces
from rljax.envs.particles import ParticleState
from rljax.errors import UsageError

VERSIONS = {
    "Simple": "simple_v3",
    "SimpleSpread": "simple_spread_v3",
    "SimpleSpeakerListener": "simple_speaker_listener_v4",
    "SimpleReference": "simple_reference_v3",
    "SimpleAdversary": "simple_adversary_v3",
    "SimpleTag": "simple_tag_v3",
}
CASES = [
    *((name, {}) for name in VERSIONS),
    pytest.param("SimpleSpread", {"N": 5, "local_ratio": 0.2}, marks=pytest.mark.long),
    pytest.param("SimpleSpread", {"N": 1, "max_cycles": 3}, marks=pytest.mark.long),
    pytest.param("SimpleReference", {"local_ratio": 0.9}, marks=pytest.mark.long),
    pytest.param("SimpleAdversary", {"N": 4}, marks=pytest.mark.long),
    pytest.param(
        "SimpleTag",
        {"num_good": 3, "num_adversaries": 2, "num_obstacles": 3},
        marks=pytest.mark.long,
    ),
]
GOALS = {  # the landmark to go to: of all agents, or of each
    "SimpleSpeakerListener-MPE": lambda speaker, listener: [speaker.goal_b],
    "SimpleReference-MPE": lambda first, second: [second.goal_b, first.goal_b],
    "SimpleAdversary-MPE": lambda adversary, *agents: [adversary.goal_a],
}
EPISODES = 4
close = partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)


def nobody_s(*agents):
    """The goals of a scenario without any."""
    return []


def pair(name, params):
    """Ours, and mpe2's parallel environment."""
    pytest.importorskip("mpe2")
    theirs = importlib.import_module(f"mpe2.{VERSIONS[name]}").parallel_env(**params)
    return rljax.make(f"{name}-MPE", **params), theirs


def state_of(theirs, ours):
    """Our state, with everything where mpe2 has it."""
    world = theirs.unwrapped.world
    talkers = [agent.state.c for agent in world.agents if not agent.silent]
    goals = [world.landmarks.index(goal) for goal in GOALS.get(ours.name, nobody_s)(*world.agents)]
    shared = len(goals) == 1
    return ParticleState(
        position=jnp.array([e.state.p_pos for e in world.entities], jnp.float32),
        velocity=jnp.array([a.state.p_vel for a in world.agents], jnp.float32),
        time=jnp.int32(theirs.unwrapped.steps),
        goal=jnp.int32(goals[0]) if shared else jnp.array(goals, jnp.int32) if goals else (),
        message=jnp.array(talkers, jnp.float32) if talkers else (),
    )


def stacked(theirs, values, width):
    """One row for each agent, with zeros at the end."""
    rows = [np.atleast_1d(values[agent]) for agent in theirs.possible_agents]
    return np.stack([np.pad(row, (0, width - len(row))) for row in rows])


@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
@pytest.mark.parametrize(("name", "params"), CASES)
def test_every_step_is_mpe2_s_own(name, params, continuous):
    ours, theirs = pair(name, {**params, "continuous_actions": continuous})
    step, rng = jax.jit(ours.step), np.random.default_rng(0)
    (width,) = ours.observation_space.shape
    for episode in range(EPISODES):
        theirs.reset(seed=episode)
        for entity in theirs.unwrapped.world.entities:
            entity.state.p_pos *= (1.0, 0.3)[episode % 2]  # closer together, they collide
        state, over = state_of(theirs, ours), False
        observe = theirs.unwrapped.observe
        first = {agent: observe(agent) for agent in theirs.possible_agents}
        close(ours.global_state(state), stacked(theirs, first, width).ravel())
        while not over:
            actions = {agent: chosen(theirs.action_space(agent), rng) for agent in theirs.agents}
            given = np.stack([padded_action(ours, actions[agent]) for agent in theirs.agents])
            state, obs, reward, terminated, truncated = step(jax.random.key(0), state, given)
            their_obs, their_reward, ends, cuts, _ = theirs.step(actions)
            close(obs, stacked(theirs, their_obs, width))
            close(reward, [their_reward[agent] for agent in theirs.possible_agents])
            assert not terminated and not any(ends.values())
            assert {bool(truncated)} == set(cuts.values())
            over = bool(truncated)
        assert state.time == params.get("max_cycles", 25)
        for mine, other in zip(state, state_of(theirs, ours), strict=True):
            if not isinstance(mine, tuple):
                close(mine, other)


def chosen(space, rng):
    """A random action of a space of Gymnasium; beyond its bounds, too, where it is continuous."""
    if hasattr(space, "n"):
        return int(rng.integers(space.n))
    return rng.uniform(-0.2, 1.2, space.shape).astype(np.float32)


def padded_action(env, action):
    """An action of an agent that has fewer than others, as ours."""
    if isinstance(env.action_space, spaces.Discrete):
        return np.int32(action)
    return np.pad(action, (0, env.action_space.shape[0] - len(action)), constant_values=0.7)


@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
@pytest.mark.parametrize("name", VERSIONS)
def test_agents_and_spaces_are_mpe2_s(name, continuous):
    ours, theirs = pair(name, {"continuous_actions": continuous})
    assert list(ours.agents) == theirs.possible_agents
    widths = [theirs.observation_space(agent).shape[0] for agent in ours.agents]
    assert ours.observation_space.shape == (max(widths),)
    assert ours.state_space.shape == (len(widths) * max(widths),)
    actions = [theirs.action_space(agent) for agent in ours.agents]
    state, obs = ours.reset(jax.random.key(0))
    assert obs.shape == (len(widths), max(widths))
    for row, width in zip(obs, widths, strict=True):
        assert not row[width:].any()
    if continuous:
        assert ours.action_space.shape == max(space.shape for space in actions)
        assert (ours.action_space.low == 0).all() and (ours.action_space.high == 1).all()
        assert not hasattr(ours, "action_mask")
    else:
        counts = [int(space.n) for space in actions]
        assert ours.action_space == spaces.Discrete(max(counts))
        assert hasattr(ours, "action_mask") == (len(set(counts)) > 1)
        if hasattr(ours, "action_mask"):
            assert ours.action_mask(state).sum(-1).tolist() == counts
            assert ours.action_mask(state)[0].tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("name", "params", "teams", "shared"),
    [
        ("Simple", {}, ((0,),), True),
        ("SimpleSpread", {}, ((0, 1, 2),), False),
        ("SimpleSpeakerListener", {}, ((0, 1),), True),
        ("SimpleReference", {}, ((0, 1),), False),
        ("SimpleAdversary", {}, ((0,), (1, 2)), True),
        ("SimpleTag", {}, ((0, 1, 2), (3,)), True),
        ("SimpleTag", {"num_good": 2}, ((0, 1, 2), (3, 4)), False),
    ],
)
def test_teams_share_what_they_say_they_share(name, params, teams, shared):
    env = rljax.make(f"{name}-MPE", **params)
    assert env.teams == teams and env.shared_reward is shared
    states, _ = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 64))
    stay = jnp.zeros(len(env.agents), jnp.int32)
    step = jax.jit(jax.vmap(env.step, (None, 0, None)))
    _, _, rewards, _, _ = step(jax.random.key(0), states, stay)
    differ = any((rewards[:, list(team)] != rewards[:, [team[0]]]).any() for team in teams)
    assert differ == (not shared)


def test_episodes_begin_all_over_the_area_with_every_goal():
    keys = jax.random.split(jax.random.key(0), 2000)
    begun = {name: begin(rljax.make(f"{name}-MPE"), keys) for name in VERSIONS}
    places = np.abs(begun["SimpleTag"].position).max((0, 2))
    assert (places[:4] > 0.99).all() and (places[4:] > 0.89).all() and (places[4:] <= 0.9).all()
    for name, number in {"Reference": 9, "SpeakerListener": 3, "Adversary": 2}.items():
        _, counts = np.unique(begun[f"Simple{name}"].goal, axis=0, return_counts=True)
        assert len(counts) == number and (counts > 150).all()


def begin(env, keys):
    """The states in which episodes begin."""
    return jax.jit(jax.vmap(lambda key: env.reset(key)[0]))(keys)


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("SimpleSpread", {"N": 0}, "N must be a whole number of at least 1, not 0"),
        ("SimpleSpread", {"local_ratio": 1.5}, "local_ratio must be between 0 and 1, not 1.5"),
        ("SimpleReference", {"local_ratio": -1}, "local_ratio must be between 0 and 1, not -1"),
        ("SimpleAdversary", {"N": 0}, "N must be a whole number"),
        ("SimpleTag", {"num_good": 0}, "num_good must be a whole number"),
        ("SimpleTag", {"num_obstacles": -1}, "num_obstacles must be a whole number"),
        ("Simple", {"max_cycles": 0}, "max_cycles must be a whole number"),
        ("SimpleSpread", {"n": 4}, "SimpleSpread-MPE has no parameter 'n'; did you mean 'N'"),
    ],
)
def test_what_cannot_be_is_refused(name, params, sentence):
    with pytest.raises(UsageError, match=sentence):
        rljax.make(f"{name}-MPE", **params)
