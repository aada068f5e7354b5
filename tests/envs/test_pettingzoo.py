"""PettingZoo's parallel environments, next to their own API."""

import re
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

import rljax
from rljax.envs.pettingzoo import ParallelLoop, from_function
from rljax.errors import UsageError

pytest.importorskip("pettingzoo")
mpe2 = pytest.importorskip("mpe2")
SPREAD, SPEAKER = "pettingzoo/mpe2.simple_spread_v3", "pettingzoo/mpe2.simple_speaker_listener_v4"


def actions_of(env, rng, num_envs):
    shape = (num_envs, len(env.agents))
    return rng.integers(0, env.action_space.n, shape).astype(np.int32)


def test_steps_are_those_of_its_own_api_and_episodes_follow_each_other():
    env = rljax.make(SPREAD, max_cycles=3)
    ours, theirs = env.simulator(2), mpe2.simple_spread_v3.parallel_env(max_cycles=3)
    assert env.agents == ("agent_0", "agent_1", "agent_2") and env.state_space.shape == (54,)
    obs, (seen, _) = ours.reset([7, 8]), theirs.reset(seed=7)
    rng = np.random.default_rng(0)
    for t in range(1, 4):
        np.testing.assert_array_equal(obs[0], np.stack([seen[a] for a in env.agents]))
        action = actions_of(env, rng, 2)
        steps = ours.step(action)
        seen, rewards, _, cuts, _ = theirs.step(
            dict(zip(env.agents, action[0].tolist(), strict=True))
        )
        paid = [rewards[a] for a in env.agents]
        np.testing.assert_allclose(steps.reward[0], paid, rtol=1e-6)
        np.testing.assert_allclose(steps.score[0], sum(paid), rtol=1e-6)
        np.testing.assert_array_equal(steps.next_obs[0], np.stack([seen[a] for a in env.agents]))
        np.testing.assert_allclose(ours.last_states()[0], theirs.state(), rtol=1e-6)
        assert (steps.over == (t == 3)).all() and (steps.truncated == steps.over).all()
        assert not steps.terminated.any() and all(cuts.values()) == (t == 3)
        assert np.array_equal(steps.obs, steps.next_obs) == (t < 3)
        obs = steps.obs


class Leaving:
    """Two agents of other sizes, of whom the second leaves after a step and the first after two."""

    def __new__(cls):
        from gymnasium import spaces
        from pettingzoo import ParallelEnv

        class Game(ParallelEnv):
            metadata, possible_agents = {"name": "leaving"}, ["one", "two"]
            render_mode = None

            def observation_space(self, agent):
                return spaces.Box(-1, 1, (3 if agent == "one" else 2,), np.float32)

            def action_space(self, agent):
                return spaces.Discrete(2 if agent == "one" else 4, start=1)

            def reset(self, seed=None, options=None):
                self.agents, self.given = ["one", "two"], []
                return {"one": np.full(3, 0.5), "two": np.full(2, -0.5)}, {}

            def step(self, actions):
                self.given.append(actions)
                seen = {a: np.full(3 if a == "one" else 2, 1.0) for a in self.agents}
                paid = {a: 1.0 + (a == "two") for a in self.agents}
                ends = {a: a == "two" or len(self.given) == 2 for a in self.agents}
                never = dict.fromkeys(self.agents, False)
                self.agents = [a for a in self.agents if not ends[a]]
                return seen, paid, ends, never, {}

        return Game()


def test_agents_are_padded_and_who_has_left_observes_zeros_and_is_paid_nothing():
    loop = ParallelLoop("leaving", Leaving, 1)
    assert loop.observation_space.shape == (3,) and loop.action_space.n == 4
    np.testing.assert_array_equal(loop.reset([0]).obs[0], [[0.5] * 3, [-0.5, -0.5, 0]])
    first = loop.step(np.array([[3, 3]]))
    np.testing.assert_array_equal(first.reward, [[1, 2]])
    assert not first.over.any()
    second = loop.step(np.array([[0, 3]]))
    np.testing.assert_array_equal(second.reward, [[1, 0]])
    np.testing.assert_array_equal(second.next_obs.obs[0], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(second.obs.obs[0], [[0.5] * 3, [-0.5, -0.5, 0]])
    assert second.terminated.all() and second.over.all() and not second.truncated.any()


def test_actions_beyond_an_agent_s_own_are_its_last_and_begin_where_they_begin():
    loop = ParallelLoop("leaving", Leaving, 1)
    loop.reset([0])
    loop.step(np.array([[3, 3]]))
    assert loop._envs[0].given == [{"one": 2, "two": 4}]


def counting(told="info", masks=None, terminates=False):
    """Two agents, of whom the second leaves after one step; the clock ends the game after three.

    One has three actions and the other two, of which one is illegal in each step: a wrong one
    fails. `masks` is what agents are told instead.
    """
    from gymnasium import spaces
    from pettingzoo import ParallelEnv

    class Counting(ParallelEnv):
        metadata, possible_agents = {"name": "counting"}, ["one", "two"]
        render_mode, state_space = None, spaces.Box(0, 9, (1,))

        def observation_space(self, agent):
            own = spaces.Box(-1, 9, (2,), np.float32)
            mask = spaces.Box(0, 1, (int(self.action_space(agent).n),), np.int8)
            return own if told == "info" else spaces.Dict(observation=own, action_mask=mask)

        def action_space(self, agent):
            return spaces.Discrete(3 if agent == "one" else 2)

        def state(self):
            return np.array([self.time])

        def legal(self, agent):
            mask = np.ones(self.action_space(agent).n, np.int8)
            mask[self.time % mask.size] = 0
            return mask if masks is None else masks[agent]

        def told(self):
            seen = {a: np.full(2, self.start + self.time, np.float32) for a in self.agents}
            if told == "info":
                return seen, {a: {"action_mask": self.legal(a)} for a in self.agents}
            both = {a: {"observation": seen[a], "action_mask": self.legal(a)} for a in self.agents}
            return both, dict.fromkeys(self.agents, {})

        def reset(self, seed=None, options=None):
            if seed is not None:
                self.rng = np.random.default_rng(seed)
            self.agents, self.time, self.start = ["one", "two"], 0, self.rng.uniform()
            return self.told()

        def step(self, actions):
            assert masks or all(self.legal(a)[actions[a]] for a in self.agents)
            self.time += 1
            seen, infos = self.told()
            ends = {a: a == "two" or (terminates and self.time == 3) for a in self.agents}
            cuts = {a: not ends[a] and self.time == 3 for a in self.agents}
            paid = {a: float(actions[a]) for a in self.agents}
            self.agents = [a for a in self.agents if not (ends[a] or cuts[a])]
            return seen, paid, ends, cuts, infos

    return Counting()


@pytest.mark.parametrize("told", ["info", "obs"])
@pytest.mark.parametrize("terminates", [False, True])
def test_legal_actions_are_those_that_agents_are_told(told, terminates):
    loop = ParallelLoop("counting", partial(counting, told, terminates=terminates), 1)
    assert loop.observation_space.shape == (2,)
    begins = [[False, True, True], [False, True, False]]  # An action beyond its own is illegal.
    np.testing.assert_array_equal(loop.reset([0]).legal[0], begins)
    first = loop.step(np.array([[1, 1]]))
    np.testing.assert_array_equal(first.obs.legal[0], [[1, 0, 1], [1, 0, 0]])  # The second left.
    np.testing.assert_array_equal(first.obs.obs[0, 1], first.obs.obs[0, 0])
    second = loop.step(np.array([[2, 0]]))
    np.testing.assert_array_equal(second.obs.legal[0], [[1, 1, 0], [1, 0, 0]])
    assert not second.obs.obs[0, 1].any()
    third = loop.step(np.array([[1, 0]]))
    assert (third.terminated[0], third.truncated[0]) == (terminates, not terminates)
    ended = np.ones((2, 3)) if terminates else [[0, 1, 1], [1, 0, 0]]
    np.testing.assert_array_equal(third.next_obs.legal[0], ended)
    np.testing.assert_array_equal(third.obs.legal[0], begins)


def test_whose_turn_it_is_not_has_one_legal_action():
    from pettingzoo.classic import connect_four_v3
    from pettingzoo.utils.conversions import turn_based_aec_to_parallel

    def make():
        return turn_based_aec_to_parallel(connect_four_v3.env())

    ours, theirs = ParallelLoop("connect four", make, 1), make()
    obs, (seen, _) = ours.reset([0]), theirs.reset(seed=0)
    rng = np.random.default_rng(0)
    for t in range(60):
        moves, waits = (ours.agents[(t + k) % 2] for k in (0, 1))
        masks = {moves: seen[moves]["action_mask"], waits: [1, 0, 0, 0, 0, 0, 0]}
        for place, agent in enumerate(ours.agents):
            np.testing.assert_array_equal(obs.legal[0, place], masks[agent])
            np.testing.assert_array_equal(obs.obs[0, place], seen[agent]["observation"])
        action = [rng.choice(np.flatnonzero(row)) for row in obs.legal[0]]
        steps = ours.step(np.array([action]))
        seen, paid, *_ = theirs.step(dict(zip(ours.agents, action, strict=True)))
        np.testing.assert_array_equal(steps.reward[0], [paid[agent] for agent in ours.agents])
        obs = steps.obs
        if steps.over[0]:
            break
    assert steps.terminated[0] and sorted(steps.reward[0]) == [-1, 1]


@pytest.mark.parametrize(
    "name", [*(pytest.param(n, marks=pytest.mark.long) for n in (SPREAD, SPEAKER)), "counting"]
)
def test_check_env_finds_nothing(name):
    env = from_function(counting, name) if name == "counting" else rljax.make(name)
    assert rljax.check_env(env) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s._replace(reward=s.score), r"reward .* float32 \[4, 2\], one for each agent"),
        (lambda s: s._replace(obs=s.obs.obs), "action_mask of obs is a NoneType"),
        (
            lambda s: s._replace(obs=s.obs.replace(legal=np.zeros_like(s.obs.legal))),
            "action_mask of obs allows no action",
        ),
    ],
)
def test_check_env_names_a_mistake(change, said):
    class Wrong(ParallelLoop):
        def step(self, actions):
            return change(super().step(actions))

    env = replace(from_function(counting, "wrong"), simulator=partial(Wrong, "wrong", counting))
    assert re.search(said, rljax.check_env(env)[0].sentence)


@pytest.mark.long
@pytest.mark.parametrize(
    ("told", "agent"), [("info", "ippo"), pytest.param("obs", "qmix", marks=pytest.mark.slow)]
)
def test_agents_take_legal_actions_alone(told, agent):
    env = from_function(partial(counting, told), "counting")
    sizes = {"num_envs": 2, "rollout_length": 6, "hidden": (8,), "total_env_steps": 48}
    if agent == "ippo":
        built = rljax.ippo(env, **sizes, num_minibatches=1)
    else:
        built = rljax.qmix(env, **sizes, warmup_env_steps=24, batch_size=4)
    state, _ = rljax.train(built, jax.random.key(0))
    assert rljax.evaluate(built, state, jax.random.key(1), 2).lengths.tolist() == [3, 3]


@pytest.mark.long
@pytest.mark.parametrize("agent", ["ippo", pytest.param("qmix", marks=pytest.mark.slow)])
def test_agents_are_trained_and_evaluated_by_actors(agent):
    sizes = {"num_envs": 2, "rollout_length": 5, "hidden": (8,)}
    env = rljax.make(SPREAD if agent == "qmix" else SPEAKER, max_cycles=5)
    if agent == "ippo":
        built = rljax.ippo(env, **sizes, total_env_steps=20, num_minibatches=1)
    else:
        built = rljax.qmix(env, **sizes, total_env_steps=40, warmup_env_steps=20, batch_size=4)
    state, rows = rljax.train(built, jax.random.key(0))
    found = rljax.evaluate(built, state, jax.random.key(1), 3)
    assert found.lengths.tolist() == [5] * 3 and (found.returns < 0).all()


def test_what_cannot_be_used_is_said_in_a_sentence():
    with pytest.raises(UsageError, match="'pettingzoo/mpe2.simple_v9' is no module"):
        rljax.make("pettingzoo/mpe2.simple_v9")
    with pytest.raises(UsageError, match="'pettingzoo/classic.connect_four_v3' is no module"):
        rljax.make("pettingzoo/classic.connect_four_v3")
    with pytest.raises(UsageError, match="mine is a object: return a parallel environment"):
        from_function(object, "mine")
    nothing, small = {"one": [0] * 3, "two": [0] * 2}, {"one": [1] * 2, "two": [1] * 2}
    with pytest.raises(UsageError, match="mine: action_mask allows no action of one, two, and"):
        ParallelLoop("mine", partial(counting, masks=nothing), 1).reset([0])
    with pytest.raises(UsageError, match=r"of one has shape \[2\], where \[3\] is due"):
        ParallelLoop("mine", partial(counting, masks=small), 1).reset([0])
