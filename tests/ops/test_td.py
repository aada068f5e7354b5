import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import ops

GAMMA, LAMBDA = 0.97, 0.8
SHAPES = [(1,), (7,), (1, 3), (24, 4)]
ENDS = [(0, 0), (0.3, 0), (0, 0.3), (0.2, 0.2)]


def draw(seed, shape, p_terminated=0.2, p_truncated=0.2):
    """Rewards, values of next observations, terminated and truncated."""
    rng = np.random.default_rng(seed)
    reward, next_value = rng.normal(size=(2, *shape)).astype(np.float32)
    return reward, next_value, rng.random(shape) < p_terminated, rng.random(shape) < p_truncated


def columns(shape):
    """Every environment as an index behind the time."""
    return [(slice(None), *index) for index in np.ndindex(shape[1:])]


def n_step_loop(reward, terminated, truncated, n):
    """One environment in float64: rewards, discounts and last rows."""
    out = []
    for t in range(len(reward)):
        total, k = 0.0, 0
        while True:
            at = t + k
            total, k = total + GAMMA**k * float(reward[at]), k + 1
            if terminated[at] or truncated[at] or k == n or at == len(reward) - 1:
                break
        out.append((total, 0.0 if terminated[at] else GAMMA**k, at))
    return np.transpose(out)


@pytest.mark.parametrize("n", [1, 2, 3, 30])
@pytest.mark.parametrize("p_terminated, p_truncated", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_n_step_returns_equal_a_float64_loop(shape, p_terminated, p_truncated, n):
    function = jax.jit(ops.n_step_returns, static_argnums=4)
    for seed in range(3):
        reward, _, terminated, truncated = draw(seed, shape, p_terminated, p_truncated)
        got = function(reward, terminated, truncated, GAMMA, n)
        assert got[2].dtype == jnp.int32
        for column in columns(shape):
            expected = n_step_loop(reward[column], terminated[column], truncated[column], n)
            for x, y in zip(got, expected, strict=True):
                np.testing.assert_allclose(x[column], y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_n_step_targets_equal_rlax_where_nothing_is_truncated(rlax, n):
    reward, next_value, terminated, truncated = draw(1, (40,), 0.2, 0)
    discount = GAMMA * (1 - terminated.astype(np.float32))
    expected = rlax.n_step_bootstrapped_returns(reward, discount, next_value, n)
    total, factor, last = ops.n_step_returns(reward, terminated, truncated, GAMMA, n)
    got = ops.td_target(total, factor, next_value[last])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def lambda_loop(reward, next_value, terminated, truncated, lambda_):
    """One environment in float64."""
    targets, later = np.zeros(len(reward)), float(next_value[-1])
    for t in reversed(range(len(reward))):
        value = float(next_value[t])
        if truncated[t]:
            later = value
        future = 0.0 if terminated[t] else (1 - lambda_) * value + lambda_ * later
        targets[t] = later = float(reward[t]) + GAMMA * future
    return targets


@pytest.mark.parametrize("lambda_", [0.0, 0.65, 1.0])
@pytest.mark.parametrize("p_terminated, p_truncated", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_lambda_returns_equal_a_float64_loop(shape, p_terminated, p_truncated, lambda_):
    for seed in range(3):
        steps = draw(seed, shape, p_terminated, p_truncated)
        got = jax.jit(ops.lambda_returns)(*steps, GAMMA, lambda_)
        for column in columns(shape):
            expected = lambda_loop(*(x[column] for x in steps), lambda_)
            np.testing.assert_allclose(got[column], expected, rtol=1e-5, atol=1e-5)


def test_lambda_returns_equal_rlax_where_nothing_is_truncated(rlax):
    reward, next_value, terminated, truncated = draw(1, (40,), 0.2, 0)
    discount = GAMMA * (1 - terminated.astype(np.float32))
    expected = rlax.lambda_returns(reward, discount, next_value, LAMBDA)
    got = ops.lambda_returns(reward, next_value, terminated, truncated, GAMMA, LAMBDA)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lambda_, n", [(0.0, 1), (1.0, 24)])
def test_lambda_goes_from_one_step_to_all_of_them(lambda_, n):
    reward, next_value, terminated, truncated = draw(2, (24, 4))
    total, discount, last = ops.n_step_returns(reward, terminated, truncated, GAMMA, n)
    expected = total + discount * np.take_along_axis(next_value, np.asarray(last), axis=0)
    got = ops.lambda_returns(reward, next_value, terminated, truncated, GAMMA, lambda_)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("p_terminated, p_truncated", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_discounted_returns_equal_a_float64_loop(shape, p_terminated, p_truncated):
    reward, _, terminated, truncated = draw(3, shape, p_terminated, p_truncated)
    returns, complete = jax.jit(ops.discounted_returns)(reward, terminated, truncated, GAMMA)
    assert complete.dtype == bool
    for column in columns(shape):
        done = (terminated | truncated)[column]
        for t in range(len(done)):
            ends = [u for u in range(t, len(done)) if done[u]]
            rewards = np.float64(reward[column][t : ends[0] + 1 if ends else None])
            expected = rewards @ GAMMA ** np.arange(len(rewards))
            np.testing.assert_allclose(returns[column][t], expected, rtol=1e-5, atol=1e-5)
            assert complete[column][t] == bool(ends)


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_huber_equals_its_definition_and_rlax(rlax, delta):
    error = np.linspace(-4, 4, 33).astype(np.float32)
    size = np.abs(np.float64(error))
    expected = np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))
    np.testing.assert_allclose(ops.huber(error, delta), expected, rtol=1e-6)
    np.testing.assert_allclose(ops.huber(error, delta), rlax.huber_loss(error, delta), rtol=1e-6)
    slopes = jax.vmap(jax.grad(ops.huber), (0, None))(error, delta)
    np.testing.assert_allclose(slopes, np.clip(error, -delta, delta))


ATOMS = np.linspace(-2.0, 3.0, 11).astype(np.float32)


def distributions(*shape):
    return np.random.default_rng(0).dirichlet(np.ones(len(ATOMS)), shape).astype(np.float32)


def projection_loop(probabilities, reward, discount):
    """Algorithm 1 for one distribution, in float64."""
    projected, spacing = np.zeros(len(ATOMS)), 0.5
    for atom, probability in zip(np.float64(ATOMS), probabilities, strict=True):
        place = (np.clip(reward + discount * atom, -2.0, 3.0) + 2.0) / spacing
        low, high = int(np.floor(place)), int(np.ceil(place))
        if low == high:
            projected[low] += probability
        else:
            projected[low] += probability * (high - place)
            projected[high] += probability * (place - low)
    return projected


def test_projection_equals_algorithm_1():
    rng = np.random.default_rng(1)
    probabilities = distributions(6, 5)
    reward = rng.normal(scale=2.0, size=(6, 5)).astype(np.float32)
    discount = rng.choice([0.0, 0.5, 0.97, 1.0], (6, 5)).astype(np.float32)
    got = jax.jit(ops.categorical_projection)(ATOMS, probabilities, reward, discount)
    assert got.shape == (6, 5, 11)
    for at in np.ndindex(6, 5):
        expected = projection_loop(probabilities[at], float(reward[at]), float(discount[at]))
        np.testing.assert_allclose(got[at], expected, atol=1e-5)
    np.testing.assert_allclose(got.sum(-1), 1.0, rtol=1e-5)


def test_projection_equals_rlax(rlax):
    probabilities = distributions(1)[0]
    reward, discount = jnp.float32(0.3), jnp.float32(0.9)
    expected = rlax.categorical_l2_project(reward + discount * ATOMS, probabilities, ATOMS)
    got = ops.categorical_projection(ATOMS, probabilities, reward, discount)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(
    "reward, discount, expected",
    [
        (0.0, 1.0, None),
        (-1.5, 0.0, {1: 1.0}),
        (0.25, 0.0, {4: 0.5, 5: 0.5}),
        (9.0, 0.0, {10: 1.0}),
        (-9.0, 1.0, {0: 1.0}),
    ],
)
def test_projection_keeps_atoms_and_clips_to_the_outermost(reward, discount, expected):
    probabilities = distributions(1)[0]
    wanted = probabilities if expected is None else [expected.get(i, 0.0) for i in range(11)]
    got = ops.categorical_projection(
        ATOMS, probabilities, jnp.float32(reward), jnp.float32(discount)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_number_is_shared_by_its_two_atoms():
    atoms = jnp.linspace(-2.0, 2.0, 5)
    shared = ops.two_hot(atoms, jnp.float32([[-1.75, 0.0, 1.25], [9.0, -9.0, -1.0]]))
    expected = [
        [[0.75, 0.25, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0.75, 0.25]],
        [[0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]],
    ]
    np.testing.assert_allclose(shared, expected, atol=1e-6)


def quantile_draw():
    rng = np.random.default_rng(0)
    predicted, target = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    return tuple(x.astype(np.float32) for x in (predicted, rng.random((4, 5)), target))


@pytest.mark.parametrize("kappa", [0.3, 1.0])
def test_quantile_huber_equals_a_float64_loop(kappa):
    predicted, tau, target = quantile_draw()
    got = ops.quantile_huber(predicted, tau, target, kappa)
    assert got.shape == (4,)
    for b in range(4):
        total = 0.0
        for value, fraction in zip(np.float64(predicted[b]), np.float64(tau[b]), strict=True):
            for aim in np.float64(target[b]):
                error = aim - value
                size = abs(error)
                loss = error**2 / 2 if size <= kappa else kappa * (size - kappa / 2)
                total += abs(fraction - (error < 0)) * loss / kappa / 3
        np.testing.assert_allclose(got[b], total, rtol=1e-5)


def test_quantile_huber_and_its_gradient_equal_rlax(rlax):
    predicted, tau, target = quantile_draw()

    def theirs(predicted):
        return jax.vmap(rlax.quantile_regression_loss, (0, 0, 0, None))(
            predicted, tau, target, 1.0
        ).sum()

    def ours(predicted):
        return ops.quantile_huber(predicted, tau, target).sum()

    for got, expected in zip(
        jax.value_and_grad(ours)(predicted), jax.value_and_grad(theirs)(predicted), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


VALUES = [0.0, 1e-6, -1e-3, 0.3, -1.0, 7.5, -123.0, 1e4, -1e6]


def test_rescaled_values_are_those_of_the_formula():
    x = np.float64(VALUES)
    expected = np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 1e-3 * x
    np.testing.assert_allclose(ops.rescaled(jnp.float32(x)), expected, rtol=1e-5)


def test_the_inverse_of_rescaled_values_is_that_of_the_formula_and_gives_them_back():
    y = np.float64(VALUES)
    root = np.sqrt(1 + 4 * 1e-3 * (np.abs(y) + 1 + 1e-3)) - 1
    expected = np.sign(y) * (np.square(root / (2 * 1e-3)) - 1)
    np.testing.assert_allclose(ops.unscaled(jnp.float32(y)), expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(ops.unscaled(ops.rescaled(jnp.float32(y))), y, rtol=1e-5)
