"""PettingZoo's parallel environments, next to their own API."""

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
    np.testing.assert_array_equal(loop.reset([0])[0], [[0.5] * 3, [-0.5, -0.5, 0]])
    first = loop.step(np.array([[3, 3]]))
    np.testing.assert_array_equal(first.reward, [[1, 2]])
    assert not first.over.any()
    second = loop.step(np.array([[0, 3]]))
    np.testing.assert_array_equal(second.reward, [[1, 0]])
    np.testing.assert_array_equal(second.next_obs[0], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(second.obs[0], [[0.5] * 3, [-0.5, -0.5, 0]])
    assert second.terminated.all() and second.over.all() and not second.truncated.any()


def test_actions_beyond_an_agent_s_own_are_its_last_and_begin_where_they_begin():
    loop = ParallelLoop("leaving", Leaving, 1)
    loop.reset([0])
    loop.step(np.array([[3, 3]]))
    assert loop._envs[0].given == [{"one": 2, "two": 4}]


@pytest.mark.long
@pytest.mark.parametrize("agent", ["ippo", pytest.param("qmix", marks=pytest.mark.long)])
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
    with pytest.raises(UsageError, match="mine is a object: return a parallel environment"):
        from_function(object, "mine")
