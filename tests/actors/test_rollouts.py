import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.actors.rollouts import episode_metrics, rollout, start
from rljax.envs import spaces

# What each environment does in each step of an episode: one walks, one stays, one starts late.
PLAN = jnp.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 3], [3, 0, 0, 0]])
# Reward is 10 action + 1; terminated at position 3, truncated after 4 steps. By hand, 8 steps:
REWARD = [
    [11, 11, 11, 11, 11, 11, 11, 11],
    [1, 1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 31, 1, 1, 1, 31],
    [31, 31, 31, 31, 31, 31, 31, 31],
]
LENGTH = [
    [1, 2, 3, 1, 2, 3, 1, 2],
    [1, 2, 3, 4, 1, 2, 3, 4],
    [1, 2, 3, 4, 1, 2, 3, 4],
    [1, 1, 1, 1, 1, 1, 1, 1],
]
RETURN = [
    [11, 22, 33, 11, 22, 33, 11, 22],
    [1, 2, 3, 4, 1, 2, 3, 4],
    [1, 2, 3, 34, 1, 2, 3, 34],
    [31, 31, 31, 31, 31, 31, 31, 31],
]
TERMINATED = [
    [0, 0, 1, 0, 0, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 1, 0, 0, 0, 1],
    [1, 1, 1, 1, 1, 1, 1, 1],
]
TRUNCATED = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 1, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
]


def policy(params, obs, carry, key):
    """Follows the plan; its memory is how many steps it has taken."""
    action = jnp.take_along_axis(params, carry, axis=1)[:, 0]
    return action, {"noise": jax.random.uniform(key, action.shape)}, carry + 1


def reset_carry(carry, done):
    return jnp.where(done[:, None], 0, carry)


@pytest.fixture(scope="module")
def played(walk):
    """The worker at the start, in the middle and at the end, and two batches of 4 steps."""
    first = start(walk, jnp.zeros((4, 1), jnp.int32), 4, jax.random.key(0))
    play = jax.jit(
        lambda worker, key: rollout(walk, policy, reset_carry, PLAN, worker, key, length=4)
    )
    middle, one = play(first, jax.random.key(1))
    last, two = play(middle, jax.random.key(2))
    batch = jax.tree.map(lambda *x: np.concatenate(x), one, two)
    return (first, middle, last), (one, two), batch


@pytest.mark.parametrize(
    "field, expected",
    [
        ("reward", REWARD),
        ("terminated", TERMINATED),
        ("truncated", TRUNCATED),
        ("episode_return", RETURN),
        ("episode_length", LENGTH),
    ],
)
def test_a_scripted_policy_gets_what_was_worked_out_by_hand(played, field, expected):
    batch = played[2]
    got = batch.extras[field] if field in batch.extras else getattr(batch, field)
    np.testing.assert_array_equal(got, np.array(expected).T)


def test_memory_is_recorded_before_each_step_and_cleared_at_an_end(played):
    batch = played[2]
    np.testing.assert_array_equal(batch.extras["carry"][..., 0], np.array(LENGTH).T - 1)


def test_observations_connect_but_for_the_ends_of_episodes(played):
    (first, _, last), _, batch = played
    np.testing.assert_array_equal(batch.obs[0], first.obs)
    after = np.concatenate([batch.obs[1:], last.obs[None]])
    np.testing.assert_array_equal(after[~batch.done], batch.next_obs[~batch.done])
    # The final observation has the length of the episode in it, the next one starts elsewhere.
    lengths = np.array(LENGTH).T
    np.testing.assert_array_equal(batch.next_obs[..., 2], lengths)
    assert (after[batch.done][:, 0] != batch.next_obs[batch.done][:, 0]).all()
    assert not after[batch.done][:, 1:].any()


def test_shapes_types_and_what_a_worker_keeps(played):
    (first, middle, _), (one, _), _ = played
    for leaf in jax.tree.leaves(one):
        assert leaf.shape[:2] == (4, 4)
    assert one.obs.shape == one.next_obs.shape == (4, 4, 3)
    assert set(one.extras) == {"noise", "carry", "episode_return", "episode_length"}
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), worker) for worker in (first, middle)]
    assert shapes[0] == shapes[1]
    for leaf in jax.tree.leaves(middle):
        assert leaf.shape[0] == 4
    np.testing.assert_array_equal(middle.episode_return, [11, 0, 0, 0])
    np.testing.assert_array_equal(middle.episode_length, [1, 0, 0, 0])


def test_environments_and_steps_differ(played):
    (first, *_), _, batch = played
    assert len(np.unique(first.obs[:, 0])) == 4
    assert len(np.unique(batch.extras["noise"])) == batch.reward.size
    ended = batch.next_obs[batch.done]
    assert len(np.unique(ended[:, 0])) == batch.done.sum()


def test_episode_metrics_are_means_over_episodes_that_ended(walk, played):
    _, (one, _), batch = played
    metrics = episode_metrics(walk, batch)
    returns = [33, 33, 4, 4, 34, 34, *[31] * 8]
    assert metrics["charts/episodes"] == len(returns) == 14
    np.testing.assert_allclose(metrics["charts/episodic_return"], np.mean(returns), rtol=1e-6)
    lengths = [3, 3, *[4] * 4, *[1] * 8]
    np.testing.assert_allclose(metrics["charts/episodic_length"], np.mean(lengths), rtol=1e-6)
    nothing_ended = episode_metrics(walk, jax.tree.map(lambda x: x[:1, :1], one))
    assert nothing_ended["charts/episodes"] == 0
    assert np.isnan(nothing_ended["charts/episodic_return"])


class Crowd:
    """Three agents who are given one, two and three; an episode has four steps."""

    name = "Crowd"
    agents = ("one", "two", "three")
    teams = ((0, 1, 2),)
    shared_reward = False
    observation_space = spaces.Box(0, 4, (3,))
    action_space = spaces.Discrete(2)

    def reset(self, key):
        return jnp.int32(0), jnp.zeros(3)

    def step(self, key, state, action):
        return state + 1, jnp.full(3, state + 1.0), jnp.array([1.0, 2.0, 3.0]), state >= 3, False


def test_returns_of_several_agents_stand_apart_and_are_reported_by_their_mean():
    env = Crowd()
    worker = start(env, (), 2, jax.random.key(0))
    still = lambda params, obs, carry, key: (jnp.zeros((2, 3), jnp.int32), {}, carry)  # noqa: E731
    worker, batch = rollout(env, still, lambda c, done: c, (), worker, jax.random.key(1), 6)
    assert batch.reward.shape == batch.extras["episode_return"].shape == (6, 2, 3)
    np.testing.assert_array_equal(batch.extras["episode_return"][3, 0], [4, 8, 12])
    np.testing.assert_array_equal(worker.episode_return, [[2, 4, 6]] * 2)
    metrics = episode_metrics(env, batch)
    assert metrics["charts/episodes"] == 2 and metrics["charts/episodic_return"] == 24
    env.shared_reward, env.teams = True, ((0, 1), (2,))
    assert episode_metrics(env, batch)["charts/episodic_return"] == 8
