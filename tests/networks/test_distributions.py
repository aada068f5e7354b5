import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from rljax import ops
from rljax.envs.spaces import Box, Dict, Discrete
from rljax.errors import UsageError
from rljax.networks import Categorical, Normal, RelaxedCategorical, TanhNormal, head

LOGITS = jnp.array([0.5, -1.0, 2.0])
MEAN, LOG_STD = jnp.array([0.3, -0.5]), jnp.array([-0.2, 0.4])
STD = np.exp(LOG_STD)
HALF_RANGE = jnp.array([0.5, 3.0])
DISTRIBUTIONS = {
    "categorical": (Categorical(LOGITS), Categorical(jnp.array([1.0, 0.0, 0.0]))),
    "normal": (Normal(MEAN, LOG_STD), Normal(MEAN + 0.5, LOG_STD - 0.3)),
    "tanh_normal": (
        TanhNormal(MEAN, LOG_STD, HALF_RANGE),
        TanhNormal(MEAN + 0.5, LOG_STD - 0.3, HALF_RANGE),
    ),
}
DRAWS = 20_000


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def drawn(request):
    """A kind, its two distributions, and numbers of the first one's samples, computed at once."""
    first, second = DISTRIBUTIONS[request.param]

    @jax.jit
    def numbers(key):
        key_raw, key_entropy = jax.random.split(key)
        raw = jax.vmap(first.sample)(jax.random.split(key_raw, DRAWS))
        entropy = jax.vmap(first.entropy)(jax.random.split(key_entropy, DRAWS))
        log_probs = first.log_prob(raw), second.log_prob(raw)
        return raw, log_probs, entropy, (first.kl(second), first.kl(first)), first.mode()

    return request.param, *jax.tree.map(np.asarray, numbers(jax.random.key(1)))


def test_log_prob_equals_scipy(drawn):
    kind, raw, (log_prob, _), *_ = drawn
    if kind == "categorical":
        expected = special.log_softmax(np.float64(LOGITS))[raw]
    else:
        expected = stats.norm(MEAN, STD).logpdf(raw).sum(-1)
    if kind == "tanh_normal":
        expected -= np.log(HALF_RANGE * (1 - np.tanh(np.float64(raw)) ** 2)).sum(-1)
    assert log_prob.shape == (DRAWS,)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-4)


def test_samples_follow_the_distribution(drawn):
    kind, raw, *_ = drawn
    if kind == "categorical":
        expected = special.softmax(np.float64(LOGITS)) * DRAWS
        assert stats.chisquare(np.bincount(raw), expected).pvalue > 1e-3
    else:
        for samples, mean, std in zip(raw.T, MEAN, STD, strict=True):
            assert stats.kstest(samples, stats.norm(mean, std).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(raw.T)[0, 1]) < 0.05


def test_entropy_and_kl_equal_monte_carlo(drawn):
    _, _, (log_prob, other), entropy, (kl, kl_to_itself), _ = drawn
    np.testing.assert_allclose(entropy.mean(), -log_prob.mean(), atol=0.03)
    np.testing.assert_allclose(kl, np.mean(log_prob - other), atol=0.03)
    np.testing.assert_allclose(kl_to_itself, 0, atol=1e-6)
    assert kl > 0.1


def test_the_mode_is_where_the_raw_density_peaks(drawn):
    kind, *_, mode = drawn
    np.testing.assert_array_equal(mode, 2 if kind == "categorical" else MEAN)


@pytest.mark.parametrize("low, high", [(-1.0, 1.0), (2.0, 2.5), (-3.0, 5.0)])
def test_tanh_normal_density_of_the_action_integrates_to_one(low, high):
    space = Box(low, high, (1,))
    tanh_head = head(space, "tanh_normal")
    distribution = tanh_head.distribution(jnp.array([0.4, -0.5]))
    raw = jnp.linspace(-8, 8, 20_001)[:, None]
    action = np.float64(tanh_head.action(raw))[:, 0]
    density = np.exp(np.float64(distribution.log_prob(raw)))
    np.testing.assert_allclose(np.trapezoid(density, action), 1, atol=1e-3)


BOUNDS = [
    ([-1.0], [1.0]),
    ([-0.1, -0.1], [0.1, 0.1]),
    ([0.0, -2.0, 5.0], [1.0, 0.5, 7.0]),
    ([-1.5241483], [-0.96916527]),
    ([-0.1], [0.3]),
]


@pytest.mark.parametrize("kind", ["normal", "tanh_normal"])
@pytest.mark.parametrize("low, high", BOUNDS)
def test_actions_respect_and_reach_the_bounds(kind, low, high):
    space = Box(low, high, (len(low),))
    raw = jnp.array([-1e6, -20.0, -0.1, 0.1, 20.0, 1e6])[:, None] * jnp.ones(len(low))
    action = np.asarray(head(space, kind).action(raw))
    assert (action >= space.low).all() and (action <= space.high).all()
    np.testing.assert_allclose(action[[0, -1]], [space.low, space.high], rtol=1e-6)


@pytest.mark.parametrize(
    "space, kind, num_outputs, distribution",
    [
        (Discrete(3), "normal", 3, Categorical),
        (Box(-1, 1, (2,)), "normal", 4, Normal),
        (Box(-1, 1, (2,)), "tanh_normal", 4, TanhNormal),
        (Box(-np.inf, np.inf, (2,)), "normal", 4, Normal),
    ],
)
def test_a_head_fits_its_space(space, kind, num_outputs, distribution):
    fitted = head(space, kind)
    assert fitted.num_outputs == num_outputs
    assert fitted.state_independent_std == (distribution is Normal)

    def shapes(key):
        built = fitted.distribution(jnp.zeros((5, 3, num_outputs)))
        assert isinstance(built, distribution)
        raw = built.sample(key)
        return fitted.action(raw), built.log_prob(raw), built.entropy(key), built.kl(built)

    action, *numbers = jax.eval_shape(shapes, jax.random.key(0))
    assert action.shape == (5, 3, *space.shape)
    assert {x.shape for x in numbers} == {(5, 3)}


@pytest.mark.parametrize(
    "space, kind, outputs",
    [
        (Discrete(2), "normal", [1e4, -1e4]),
        (Box(-1, 1, (1,)), "normal", [1e6, 0.0]),
        (Box(-1, 1, (1,)), "normal", [-1e6, 2.0]),
        (Box(-2, 2, (1,)), "tanh_normal", [1e4, -100.0]),
        (Box(-2, 2, (1,)), "tanh_normal", [-1e4, 100.0]),
    ],
)
def test_extreme_outputs_stay_finite_and_so_do_their_gradients(space, kind, outputs):
    fitted = head(space, kind)

    def numbers(outputs):
        distribution = fitted.distribution(outputs)
        raw = distribution.sample(jax.random.key(0))
        fixed = jax.lax.stop_gradient(raw)
        return {
            "log_prob": distribution.log_prob(fixed),
            "log_prob of own sample": distribution.log_prob(raw),
            "entropy": distribution.entropy(jax.random.key(1)),
            "kl": distribution.kl(distribution),
            "action": fitted.action(raw).sum() * 1.0,
        }

    both = jax.jit(lambda outputs: (numbers(outputs), jax.jacrev(numbers)(outputs)))
    for tree in both(jnp.array(outputs)):
        for name, value in tree.items():
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    "space, kind, message",
    [
        (Dict({"arm": Discrete(2)}), "normal", r"^my agent .* not Dict\(arm: Discrete\(2\)\)$"),
        (Box(-1, 1, (2, 3)), "normal", r"^my agent .* not Box\(2, 3\) float32 in \[-1, 1\]$"),
        (Box(-1, 1, ()), "normal", r"^my agent .* not Box\(\) float32"),
        (Box(-np.inf, 1, (2,)), "tanh_normal", r"'tanh_normal' needs finite bounds, not Box\(2,\)"),
        (Box(-1, 1, (2,)), "tahn_normal", "'tahn_normal' is not known; did you mean 'tanh_normal'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(space, kind, message):
    with pytest.raises(UsageError, match=message) as refusal:
        head(space, kind, agent="my agent")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("straight_through", [True, False])
def test_relaxed_samples_are_those_of_the_categorical_and_gradients_pass(straight_through):
    logits = jnp.array([1.0, 0.0, -1.0, ops.ILLEGAL])
    relaxed = RelaxedCategorical(logits, straight_through)
    keys = jax.random.split(jax.random.key(0), 20_000)
    samples = np.asarray(jax.vmap(relaxed.sample)(keys))
    np.testing.assert_allclose(samples.sum(axis=-1), 1.0, rtol=1e-5)
    chosen = np.bincount(samples.argmax(axis=-1), minlength=4) / len(keys)
    np.testing.assert_allclose(chosen, jax.nn.softmax(logits), atol=0.01)
    assert (samples[:, 3] == 0).all() and set(np.unique(samples)) >= {0.0}
    assert (set(np.unique(samples)) == {0.0, 1.0}) == straight_through
    worth = jnp.array([3.0, 1.0, 2.0, 5.0])

    def value(logits, straight_through):
        return jnp.sum(worth * RelaxedCategorical(logits, straight_through).sample(keys[0]))

    soft = jax.grad(value)(logits, False)
    np.testing.assert_allclose(jax.grad(value)(logits, straight_through), soft, rtol=1e-5)
    assert (soft[:3] != 0).all() and soft[3] == 0
    np.testing.assert_allclose(relaxed.entropy(), Categorical(logits).entropy())
    np.testing.assert_allclose(
        relaxed.log_prob(jnp.eye(4)[:3]), jax.nn.log_softmax(logits)[:3], rtol=1e-6
    )
    np.testing.assert_array_equal(relaxed.mode(), [1.0, 0.0, 0.0, 0.0])
