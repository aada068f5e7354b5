import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.ops import policy_evaluation, value_iteration

S, A = 7, 3


def draw(seed, ends=0.05):
    """A random problem: probability [S, A, S], reward [S, A] and a policy [S, A]."""
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.full(S + 1, 0.5), (S, A))
    probability[..., S] += ends  # so that there is a way out of every state
    probability /= probability.sum(axis=-1, keepdims=True)
    return probability[..., :S], rng.normal(size=(S, A)), rng.dirichlet(np.ones(A), S)


def loop(probability, reward, gamma):
    """Equation 4.10, one number at a time in float64."""
    value = np.zeros(S)
    for _ in range(5000):
        q = np.zeros((S, A))
        for s in range(S):
            for a in range(A):
                future = sum(probability[s, a, to] * value[to] for to in range(S))
                q[s, a] = reward[s, a] + gamma * future
        settled = np.abs(q.max(axis=1) - value).max() < 1e-12
        value = q.max(axis=1)
        if settled:
            return q
    raise AssertionError("did not settle")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_value_iteration_equals_a_float64_loop(seed, gamma):
    probability, reward, _ = draw(seed)
    got = jax.jit(value_iteration)(probability, reward, gamma)
    assert got.shape == (S, A) and got.dtype == np.float32
    np.testing.assert_allclose(got, loop(probability, reward, gamma), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0])
def test_policy_evaluation_equals_the_solution_of_the_linear_equations(gamma):
    probability, reward, policy = draw(3)
    step = np.einsum("sat,tb->satb", probability, policy).reshape(S * A, S * A)
    expected = np.linalg.solve(np.eye(S * A) - gamma * step, reward.ravel()).reshape(S, A)
    got = jax.jit(policy_evaluation)(probability, reward, policy, gamma)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)


def test_the_best_policy_is_worth_the_optimal_values_and_others_less():
    probability, reward, policy = draw(4)
    best = value_iteration(probability, reward, 0.9)
    greedy = jax.nn.one_hot(best.argmax(axis=1), A)
    np.testing.assert_allclose(
        policy_evaluation(probability, reward, greedy, 0.9), best, rtol=1e-5, atol=1e-5
    )
    assert (policy_evaluation(probability, reward, policy, 0.9) < best - 1e-3).all()


def test_steps_that_end_leave_nothing_to_come():
    probability, reward = np.zeros((2, 1, 2)), np.array([[1.0], [2.0]])
    probability[0, 0, 1] = 1.0  # state 0 leads to state 1, which ends
    for q in (
        value_iteration(probability, reward, 0.5),
        policy_evaluation(probability, reward, np.ones((2, 1)), 0.5),
    ):
        np.testing.assert_array_equal(q, [[2.0], [2.0]])


def test_discounts_and_rewards_can_be_swept_together():
    problems = [draw(seed) for seed in range(4)]
    probability, reward, policy = (
        jnp.asarray(np.stack(x), jnp.float32) for x in zip(*problems, strict=True)
    )
    gamma = jnp.array([0.0, 0.5, 0.9, 0.99])
    optimal = jax.jit(jax.vmap(value_iteration))(probability, reward, gamma)
    followed = jax.jit(jax.vmap(policy_evaluation))(probability, reward, policy, gamma)
    for i in range(4):
        problem = probability[i], reward[i]
        np.testing.assert_allclose(
            optimal[i], value_iteration(*problem, gamma[i]), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            followed[i], policy_evaluation(*problem, policy[i], gamma[i]), rtol=1e-4, atol=1e-5
        )


def test_the_tolerance_is_relative():
    probability, reward, policy = draw(5)
    reward = np.float32(reward)
    for solve in (
        lambda reward: value_iteration(probability, reward, 0.99, 1e-2),
        lambda reward: policy_evaluation(probability, reward, policy, 0.99, 1e-2),
    ):
        rough = solve(reward)
        np.testing.assert_array_equal(solve(1024 * reward), 1024 * rough)
    exact = value_iteration(probability, reward, 0.99)
    rough = value_iteration(probability, reward, 0.99, 1e-2)
    assert 1e-3 < np.abs(rough - exact).max() / np.abs(exact).max() < 1.0


@pytest.mark.parametrize("policy", [None, np.ones((1, 1))])
def test_an_endless_undiscounted_problem_stops_at_the_limit(policy):
    problem = (np.ones((1, 1, 1)), -np.ones((1, 1)))
    if policy is None:
        q = value_iteration(*problem, 1.0, max_iterations=50)
    else:
        q = policy_evaluation(*problem, policy, 1.0, max_iterations=50)
    assert q == -50
