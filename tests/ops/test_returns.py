import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import ops
from rljax.ops import explained_variance, generalized_advantage

GAMMA, LAMBDA = 0.97, 0.9
gae = jax.jit(generalized_advantage)


def loop(reward, value, next_value, terminated, truncated, gamma, gae_lambda):
    """Equation 16, one number at a time in float64."""
    advantage = np.zeros(reward.shape)
    for index in np.ndindex(reward.shape[1:]):
        later = 0.0
        for t in reversed(range(len(reward))):
            at = (t, *index)
            future = 0.0 if terminated[at] else float(next_value[at])
            if terminated[at] or truncated[at]:
                later = 0.0
            later = reward[at] + gamma * future - float(value[at]) + gamma * gae_lambda * later
            advantage[at] = later
    return advantage


def draw(seed, shape, p_terminated=0.2, p_truncated=0.2):
    rng = np.random.default_rng(seed)
    reward, value, next_value = rng.normal(size=(3, *shape)).astype(np.float32)
    return [
        reward,
        value,
        next_value,
        rng.random(shape) < p_terminated,
        rng.random(shape) < p_truncated,
    ]


SHAPES = [(1,), (7,), (1, 3), (32, 4), (50, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p_terminated, p_truncated", [(0, 0), (0.3, 0), (0, 0.3), (0.3, 0.3)])
def test_gae_equals_a_float64_loop(shape, p_terminated, p_truncated):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        gamma, gae_lambda = rng.uniform(0.5, 1.0, 2)
        steps = draw(seed, shape, p_terminated, p_truncated)
        expected = loop(*steps, gamma, gae_lambda)
        got = gae(*steps, np.float32(gamma), np.float32(gae_lambda))
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("name", ["generalized_advantage", "lambda_returns"])
def test_agents_of_one_environment_have_what_each_would_have_alone(name):
    reward, value, next_value, *_ = draw(5, (6, 2, 3), 0.3, 0.3)
    ends = draw(6, (6, 2), 0.3, 0.3)[3:]
    values = [value, next_value] if name == "generalized_advantage" else [next_value]
    together = getattr(ops, name)(reward, *values, *ends, GAMMA, LAMBDA)
    for agent in range(3):
        own = [x[..., agent] for x in (reward, *values)]
        alone = getattr(ops, name)(*own, *ends, GAMMA, LAMBDA)
        np.testing.assert_allclose(together[..., agent], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("p_terminated", [0, 0.3])
def test_gae_equals_rlax_where_nothing_is_truncated(rlax, p_terminated):
    reward, _, _, terminated, truncated = draw(1, (40,), p_terminated, 0)
    values = np.random.default_rng(2).normal(size=41).astype(np.float32)
    discount = GAMMA * (1 - terminated.astype(np.float32))
    expected = rlax.truncated_generalized_advantage_estimation(reward, discount, LAMBDA, values)
    got = gae(reward, values[:-1], values[1:], terminated, truncated, GAMMA, LAMBDA)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_gae_leaks_nothing_across_an_end(end):
    steps = draw(3, (8, 2), 0, 0)
    steps[3 if end == "terminated" else 4][4] = True
    before = np.asarray(gae(*steps, GAMMA, LAMBDA))
    for later in steps[:3]:
        later[5:] += 100.0
    after = np.asarray(gae(*steps, GAMMA, LAMBDA))
    np.testing.assert_array_equal(after[:5], before[:5])
    assert np.abs(after[5:] - before[5:]).min() > 1


@pytest.mark.parametrize(
    "end, changed, effect",
    [
        ("truncated", "next_value", GAMMA),
        ("truncated", "value[t+1]", 0.0),
        ("terminated", "next_value", 0.0),
        ("terminated", "value[t+1]", 0.0),
    ],
)
def test_gae_bootstraps_from_the_next_value_of_truncations_only(end, changed, effect):
    steps = draw(4, (6, 1), 0, 0)
    steps[3 if end == "terminated" else 4][2] = True
    before = gae(*steps, GAMMA, LAMBDA)
    if changed == "next_value":
        steps[2][2] += 1
    else:
        steps[1][3] += 1
    change = np.asarray(gae(*steps, GAMMA, LAMBDA) - before)[:3, 0]
    expected = effect * (GAMMA * LAMBDA) ** np.array([2, 1, 0])
    np.testing.assert_allclose(change, expected, atol=1e-5)


@pytest.mark.parametrize("end, expected", [("truncated", 1 / (1 - 0.9)), ("terminated", 1.0)])
def test_a_reward_of_one_is_worth_forever_unless_it_ends(end, expected):
    one, over, going = jnp.ones(1), jnp.ones(1, bool), jnp.zeros(1, bool)
    ends = (over, going) if end == "terminated" else (going, over)
    target = gae(one, 5 * one, 10 * one, *ends, 0.9, LAMBDA) + 5
    np.testing.assert_allclose(target, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "value, target, expected",
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0),
        ([5.0, 5.0, 5.0], [1.0, 2.0, 3.0], 0.0),
        ([3.0, 4.0, 5.0], [1.0, 2.0, 3.0], 1.0),
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], -3.0),
        ([7.0, 7.0, 7.0], [7.0, 7.0, 7.0], 1.0),
    ],
)
def test_explained_variance(value, target, expected):
    got = explained_variance(jnp.asarray(value), jnp.asarray(target))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_explained_variance_of_a_constant_target_is_finite():
    assert np.isfinite(explained_variance(jnp.arange(3.0), jnp.ones(3)))
