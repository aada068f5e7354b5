"""V-trace against equation 1, against rlax, and against what it is on-policy."""

import jax
import numpy as np
import pytest

from rljax import ops

GAMMA = 0.97
SHAPES = [(1,), (7,), (1, 3), (24, 4)]
ENDS = [(0, 0), (0.3, 0), (0, 0.3), (0.2, 0.2)]
CLIPS = [(1.0, 1.0, None), (1.3, 0.7, 0.9), (0.5, 2.0, 3.0)]
vtrace = jax.jit(ops.vtrace)


def draw(seed, shape, p_terminated=0.2, p_truncated=0.2):
    """Rewards, values, values of next observations, terminated, truncated and log-ratios."""
    rng = np.random.default_rng(seed)
    reward, value, next_value, log_ratio = rng.normal(size=(4, *shape)).astype(np.float32)
    terminated, truncated = rng.random(shape) < p_terminated, rng.random(shape) < p_truncated
    if shape[0] > 1:  # Where an episode goes on, the next step sees what this one led to.
        goes_on = ~(terminated | truncated)[:-1]
        next_value[:-1] = np.where(goes_on, value[1:], next_value[:-1])
    return [reward, value, next_value, terminated, truncated, 0.7 * log_ratio]


def definition(reward, value, next_value, terminated, truncated, log_ratio, lambda_, clips):
    """Equation 1 as the paper has it, a sum over s to the end of the episode; in float64."""
    reward, value, next_value = map(np.float64, (reward, value, next_value))
    ratio = np.exp(np.float64(log_ratio))
    rho_clip, c_clip, pg_rho_clip = clips
    done, last = terminated | truncated, len(reward) - 1
    target = np.zeros(len(reward))
    for s in range(len(reward)):
        total, product = value[s], 1.0
        for t in range(s, len(reward)):
            following = 0.0 if terminated[t] else next_value[t]
            delta = min(rho_clip, ratio[t]) * (reward[t] + GAMMA * following - value[t])
            total += GAMMA ** (t - s) * product * delta
            product *= lambda_ * min(c_clip, ratio[t])
            if done[t]:
                break
        target[s] = total
    advantage = np.zeros(len(reward))
    for s in range(len(reward)):
        following = next_value[s]
        if not done[s] and s < last:
            following = lambda_ * target[s + 1] + (1 - lambda_) * value[s + 1]
        following = 0.0 if terminated[s] else following
        weight = min(rho_clip if pg_rho_clip is None else pg_rho_clip, ratio[s])
        advantage[s] = weight * (reward[s] + GAMMA * following - value[s])
    return target, advantage


@pytest.mark.parametrize("lambda_", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("clips", CLIPS)
@pytest.mark.parametrize("p_terminated, p_truncated", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_equals_its_definition_in_float64(shape, p_terminated, p_truncated, clips, lambda_):
    for seed in range(3):
        steps = draw(seed, shape, p_terminated, p_truncated)
        given = [clip for clip in clips if clip is not None]
        got = vtrace(*steps, GAMMA, lambda_, *given)
        for index in np.ndindex(shape[1:]):
            column = (slice(None), *index)
            expected = definition(*(x[column] for x in steps), lambda_, clips)
            for x, y in zip(got, expected, strict=True):
                np.testing.assert_allclose(x[column], y, rtol=1e-6, atol=1e-6 * np.abs(y).max())


@pytest.mark.parametrize("lambda_", [0.8, 1.0])
@pytest.mark.parametrize("rho_clip, pg_rho_clip", [(1.0, 1.0), (1.5, 0.8)])
def test_it_equals_rlax_where_nothing_is_truncated(rlax, lambda_, rho_clip, pg_rho_clip):
    reward, value, next_value, terminated, truncated, log_ratio = draw(1, (40,), 0.2, 0)
    # rlax reads the value of the next step also behind a termination, where it does not count.
    next_value[:-1] = value[1:]
    discount = GAMMA * (1 - terminated.astype(np.float32))
    expected = rlax.vtrace_td_error_and_advantage(
        value,
        next_value,
        reward,
        discount,
        np.exp(log_ratio),
        lambda_,
        rho_clip,
        pg_rho_clip,
    )
    target, advantage = vtrace(
        reward,
        value,
        next_value,
        terminated,
        truncated,
        log_ratio,
        GAMMA,
        lambda_,
        rho_clip,
        1.0,
        pg_rho_clip,
    )
    np.testing.assert_allclose(advantage, expected.pg_advantage, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(target - value, expected.errors, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lambda_", [0.7, 1.0])
@pytest.mark.parametrize("clip", [1.0, 5.0])
def test_on_policy_it_is_the_lambda_return_and_gae(lambda_, clip):
    *steps, log_ratio = draw(2, (24, 4))
    target, advantage = vtrace(*steps, 0 * log_ratio, GAMMA, lambda_, clip, clip)
    reward, value, *rest = steps
    returns = ops.lambda_returns(reward, *rest, GAMMA, lambda_)
    np.testing.assert_allclose(target, returns, rtol=1e-5, atol=1e-5)
    expected = ops.generalized_advantage(reward, value, *rest, GAMMA, lambda_)
    np.testing.assert_allclose(advantage, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_nothing_leaks_across_an_end(end):
    steps = draw(3, (8, 2), 0, 0)
    steps[3 if end == "terminated" else 4][4] = True
    before = np.stack(vtrace(*steps, GAMMA))
    for later in (*steps[:3], steps[5]):
        later[5:] += 10.0
    after = np.stack(vtrace(*steps, GAMMA))
    np.testing.assert_array_equal(after[:, :5], before[:, :5])
    assert np.abs(after[:, 5:] - before[:, 5:]).min() > 0.1


@pytest.mark.parametrize("end, effect", [("terminated", 0.0), ("truncated", GAMMA)])
def test_a_truncated_step_bootstraps_from_the_next_value_and_a_terminated_one_never(end, effect):
    steps = draw(4, (6, 1), 0, 0)
    steps[5][:] = 0.0
    steps[3 if end == "terminated" else 4][2] = True
    before = np.stack(vtrace(*steps, GAMMA))
    steps[2][2] += 1
    change = (np.stack(vtrace(*steps, GAMMA)) - before)[:, :, 0]
    np.testing.assert_allclose(change[:, 2], effect, atol=1e-5)
    np.testing.assert_array_equal(change[:, 3:], 0)


def test_an_action_that_the_policy_would_not_take_counts_for_nothing():
    steps = draw(5, (6, 1), 0, 0)
    steps[5][3] = -np.inf
    target, advantage = vtrace(*steps, GAMMA)
    assert target[3] == steps[1][3] and advantage[3] == 0
    steps[0][4:] += 100.0  # What came after such an action changes nothing before it.
    np.testing.assert_array_equal(vtrace(*steps, GAMMA)[0][:4], target[:4])


def test_ratios_are_clipped_for_a_step_and_for_those_before_it():
    """Three steps with rewards of 1, values of 0, no discount and the ratios 4, 2 and 1."""
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    never, log_ratio = np.zeros(3, bool), np.log(np.float32([4, 2, 1]))
    steps = (ones, zeros, zeros, never, never, log_ratio, 1.0, 1.0)
    target, advantage = vtrace(*steps, 3.0, 1.5)
    np.testing.assert_allclose(target, [3 + 1.5 * (2 + 1.5), 2 + 1.5, 1], rtol=1e-5)
    np.testing.assert_allclose(advantage, [3 * (1 + 3.5), 2 * (1 + 1), 1], rtol=1e-5)
    np.testing.assert_allclose(vtrace(*steps, 3.0, 1.5, 1.0)[1], [4.5, 2, 1], rtol=1e-5)


def test_without_its_weight_an_advantage_is_for_a_loss_that_has_the_ratio():
    steps = draw(6, (24, 4))
    target, weighted = vtrace(*steps, GAMMA, 0.9, 1.2, 1.0)
    same, plain = ops.vtrace(*steps, GAMMA, 0.9, 1.2, 1.0, weighted=False)
    np.testing.assert_allclose(same, target, rtol=1e-5, atol=1e-6)
    rho = np.minimum(1.2, np.exp(steps[5]))
    np.testing.assert_allclose(rho * plain, weighted, rtol=1e-5, atol=1e-6)
