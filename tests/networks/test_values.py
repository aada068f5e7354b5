from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import special, stats

from rljax import ops
from rljax.actors import value_actor
from rljax.envs.spaces import Box, Discrete
from rljax.errors import UsageError
from rljax.networks import (
    MLP,
    NoisyDense,
    Quantiles,
    categorical,
    implicit_quantile,
    q_network,
    quantile,
    scalar,
    value_head,
)
from rljax.networks.modules import ActionValues

# Compiling takes longer than running here.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
FLAT, PIXELS = Box(-1, 1, (4,)), Box(0, 1, (5, 4, 2))
KEY, OTHER_KEY = jax.random.split(jax.random.key(0))
HEADS = {
    "scalar": scalar(),
    "c51": categorical(-2.0, 3.0, 11),
    "qr": quantile(5),
    "iqn": implicit_quantile(5),
}
ATOMS = np.linspace(-2.0, 3.0, 11)
TAU = (np.arange(5) + 0.5) / 5


def env(space=FLAT, actions=3):
    actions = Discrete(actions) if isinstance(actions, int) else actions
    return SimpleNamespace(observation_space=space, action_space=actions)


@cache
def build(kind="scalar", space=FLAT, noisy=False, **options):
    """A small network, its initial parameters and its compiled apply."""
    q = q_network(env(space), hidden=(8, 6), head=HEADS[kind], noisy=noisy, **options)
    return q, jit(q.net.init)(KEY), jit(lambda params, obs, key: estimated(q, params, obs, key))


def estimated(q, params, obs, key):
    """The estimate of a network without a carry."""
    return q.net.apply(params, obs, (), key)[0]


def values(kind, numbers):
    return numbers.values if kind == "iqn" else numbers


def estimate(kind, seed=0, actions=3, batch=4):
    """An estimate [4, 3, ...] of one kind."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(batch, actions, *HEADS[kind].shape)).astype(np.float32)
    if kind == "iqn":
        return Quantiles(numbers, rng.random((batch, 5)).astype(np.float32))
    return numbers


# Heads.


@pytest.mark.parametrize("kind", HEADS)
def test_q_is_the_expected_value(kind):
    numbers = np.float64(values(kind, estimate(kind)))
    expected = {
        "scalar": lambda x: x,
        "c51": lambda x: special.softmax(x, axis=-1) @ ATOMS,
        "qr": lambda x: x.mean(-1),
        "iqn": lambda x: x.mean(-1),
    }[kind](numbers)
    np.testing.assert_allclose(HEADS[kind].q(estimate(kind)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", HEADS)
def test_pick_takes_the_estimate_of_one_action(kind):
    action = np.array([2, 0, 1, 1])
    everything = estimate(kind)
    chosen = HEADS[kind].pick(everything, jax.nn.one_hot(action, 3))
    expected = values(kind, everything)[np.arange(4), action]
    np.testing.assert_array_equal(values(kind, chosen), expected)
    if kind == "iqn":
        np.testing.assert_array_equal(chosen.tau, everything.tau)


def test_pick_of_a_scalar_is_the_expectation_under_the_policy():
    q, policy = np.float32([[1, 2, 4]]), np.float32([[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(HEADS["scalar"].pick(q, policy), [2.0])


REWARD = np.float32([0.5, -0.3, 1.0, 0.2])
DISCOUNT = np.float32([0.9, 0.0, 0.5, 0.99])


@pytest.mark.parametrize("kind", HEADS)
def test_backup_is_reward_plus_discounted_chosen(kind):
    head = HEADS[kind]
    chosen = head.pick(estimate(kind), jax.nn.one_hot(jnp.array([2, 0, 1, 1]), 3))
    target = head.backup(chosen, REWARD, DISCOUNT)
    assert target.shape == (4, *head.shape)
    numbers = np.asarray(values(kind, chosen))
    if kind == "scalar":
        expected = REWARD + DISCOUNT * numbers
    elif kind == "c51":
        probabilities = special.softmax(numbers, axis=-1)
        expected = ops.categorical_projection(
            jnp.float32(ATOMS), probabilities, jnp.asarray(REWARD), jnp.asarray(DISCOUNT)
        )
        np.testing.assert_allclose(target.sum(-1), 1.0, rtol=1e-5)
    else:
        expected = REWARD[:, None] + DISCOUNT[:, None] * numbers
    np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [*HEADS.values(), scalar(rescale=True), categorical(-30.0, 300.0, 51, rescale=True)],
    ids=[*HEADS, "scalar rescaled", "c51 rescaled"],
)
def test_a_number_that_is_certain_has_itself_as_its_value(head):
    numbers = jnp.float32([-0.7, 0.0, 0.31, 0.9])
    target = head.certain(numbers)
    if head.shape and head.clipped:
        # Logits of probabilities; of the others targets are estimates.
        np.testing.assert_allclose(target.sum(-1), 1.0, rtol=1e-5)
        assert ((target > 0).sum(-1) <= 2).all()
        target = jnp.log(target + 1e-30)
    value = head.q(Quantiles(target, target) if head.implicit else target)
    np.testing.assert_allclose(value, numbers, rtol=1e-4, atol=1e-5)


def test_rescaled_atoms_are_backed_up_as_the_returns_they_stand_for():
    head = categorical(-30.0, 300.0, 51, rescale=True)
    atoms = np.linspace(*(float(ops.rescaled(jnp.float32(x))) for x in (-30.0, 300.0)), 51)
    logits = np.random.default_rng(0).normal(size=(4, 51))
    moved = REWARD[:, None] + DISCOUNT[:, None] * np.asarray(ops.unscaled(jnp.float32(atoms)))
    moved = np.clip(np.asarray(ops.rescaled(moved)), atoms[0], atoms[-1])
    share = np.clip(1 - np.abs(moved[:, None] - atoms[:, None]) / (atoms[1] - atoms[0]), 0, 1)
    expected = np.einsum("bij,bj->bi", share, special.softmax(logits, axis=-1))
    target = head.backup(jnp.float32(logits), REWARD, DISCOUNT)
    np.testing.assert_allclose(target, expected, rtol=1e-3, atol=1e-5)
    mean = special.softmax(logits, axis=-1) @ atoms
    np.testing.assert_allclose(head.q(jnp.float32(logits)), ops.unscaled(mean), rtol=1e-4)


@pytest.mark.parametrize("loss", ["huber", "squared"])
def test_scalar_loss_and_priority(loss):
    value, target = np.float32([0.0, 1.0, 5.0]), np.float32([0.5, -2.0, 5.0])
    expected = {"huber": [0.125, 2.5, 0.0], "squared": [0.125, 4.5, 0.0]}[loss]
    losses, priority = scalar(loss).loss(value, target)
    np.testing.assert_allclose(losses, expected)
    np.testing.assert_allclose(priority, [0.5, 3.0, 0.0])


def test_categorical_loss_and_priority_are_the_kl_divergence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 11)).astype(np.float32)
    target = rng.dirichlet(np.ones(11), 4).astype(np.float32)
    target[0] = np.eye(11)[3]
    expected = [stats.entropy(p, special.softmax(x)) for p, x in zip(target, logits, strict=True)]
    for got in HEADS["c51"].loss(logits, target):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    perfect, _ = HEADS["c51"].loss(logits, special.softmax(logits, axis=-1))
    np.testing.assert_allclose(perfect, 0.0, atol=1e-6)


@pytest.mark.parametrize("kappa", [0.5, 1.0])
@pytest.mark.parametrize("kind", ["qr", "iqn"])
def test_quantile_losses_use_the_fractions_of_the_estimate(kind, kappa):
    head = quantile(5, kappa) if kind == "qr" else implicit_quantile(5, kappa)
    chosen = head.pick(estimate(kind), jax.nn.one_hot(jnp.array([2, 0, 1, 1]), 3))
    target = np.random.default_rng(1).normal(size=(4, 7)).astype(np.float32)
    tau = chosen.tau if kind == "iqn" else np.broadcast_to(np.float32(TAU), (4, 5))
    expected = ops.quantile_huber(values(kind, chosen), tau, target, kappa)
    for got in head.loss(chosen, target):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", HEADS)
def test_descending_the_loss_reaches_the_target(kind):
    q, params, _ = build(kind)
    obs = jax.random.normal(KEY, (4, 4))
    action = jax.nn.one_hot(jnp.array([0, 1, 2, 0]), 3)
    chosen = q.head.pick(estimate(kind), action)
    target = q.head.backup(chosen, jnp.asarray(REWARD), 0.5 * jnp.asarray(DISCOUNT))
    optimizer = optax.adam(1e-2)

    def loss(params):
        return q.head.loss(q.head.pick(estimated(q, params, obs, None), action), target)[0].mean()

    @jit
    def train(params):
        def step(carry, _):
            params, state = carry
            value, slope = jax.value_and_grad(loss)(params)
            moves, state = optimizer.update(slope, state)
            return (optax.apply_updates(params, moves), state), value

        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), length=500)
        return params, losses

    trained, losses = train(params)
    assert losses[-1] < 0.5 * losses[0]
    if kind == "scalar":
        value = q.head.pick(estimated(q, trained, obs, None), action)
        np.testing.assert_allclose(value, target, atol=0.02)
    if kind == "c51":
        assert losses[-1] < 0.01


@pytest.mark.long
@pytest.mark.parametrize("kind", ["qr", "iqn"])
def test_quantiles_of_a_distribution_are_learnt(kind):
    num = {"qr": 5, "iqn": 16}[kind]
    head = quantile(num, 0.05) if kind == "qr" else implicit_quantile(num, 0.05)
    q = q_network(env(actions=2), hidden=(32,), head=head)
    obs = jnp.ones((64, 4))
    action = jax.nn.one_hot(jnp.ones(64, int), 2)
    optimizer = optax.adam(optax.linear_schedule(1e-2, 0.0, 1500))

    def loss(params, key):
        key_noise, key_return = jax.random.split(key)
        chosen = head.pick(estimated(q, params, obs, key_noise), action)
        returns = 1.0 + 2.0 * jax.random.normal(key_return, (64, 8))
        return head.loss(chosen, returns)[0].mean()

    @jit
    def train(key):
        def step(carry, key):
            params, state = carry
            moves, state = optimizer.update(jax.grad(loss)(params, key), state)
            return (optax.apply_updates(params, moves), state), None

        params = q.net.init(key)
        keys = jax.random.split(key, 1500)
        params, _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)[0]
        return estimated(q, params, obs[0], None)

    learnt = values(kind, train(KEY))[1]
    expected = stats.norm(1.0, 2.0).ppf((np.arange(num) + 0.5) / num)
    np.testing.assert_allclose(learnt, expected, atol=0.3)


def test_a_head_or_a_loss_may_be_given_as_an_object():
    head = scalar(lambda error: jnp.abs(error))
    assert value_head(head) is head
    losses, priority = head.loss(jnp.float32(1), jnp.float32(-3))
    assert losses == priority == 4


def test_heads_by_name():
    for kind, shape in {"scalar": (), "c51": (7,), "qr": (7,), "iqn": (7,)}.items():
        assert value_head(kind, num_atoms=7, v_min=0.0, v_max=1.0).shape == shape
    assert value_head("iqn").implicit and not value_head("qr").implicit
    logits = jnp.array([0.0, 0.0, 50.0])
    assert value_head("c51", num_atoms=3, v_min=-4.0, v_max=6.0).q(logits) == 6.0
    loss, _ = value_head("scalar", "squared").loss(jnp.float32(0), jnp.float32(4))
    assert loss == 8.0
    for kind in ("qr", "iqn"):
        numbers = jnp.zeros(1) if kind == "qr" else Quantiles(jnp.zeros(1), jnp.full(1, 0.5))
        loss, _ = value_head(kind, num_atoms=1, kappa=2.0).loss(numbers, jnp.ones(1))
        np.testing.assert_allclose(loss, 0.5 * 0.5 / 2)


# Networks.


@pytest.mark.parametrize(
    "space, leading", [(FLAT, ()), (FLAT, (3, 2)), (PIXELS, (2,)), (Discrete(4), (3, 2))]
)
@pytest.mark.parametrize("kind", HEADS)
def test_shapes_follow_any_leading_axes(kind, space, leading):
    q = q_network(env(space), hidden=(8, 6), head=HEADS[kind], dueling=True, noisy=True)
    obs = jnp.ones((*leading, *space.shape), space.dtype)
    for key in (None, KEY):
        made = jax.eval_shape(lambda obs, key=key: estimated(q, q.net.init(KEY), obs, key), obs)
        assert values(kind, made).shape == (*leading, 3, *HEADS[kind].shape)
        assert q.head.q(jax.tree.map(lambda x: jnp.zeros(x.shape), made)).shape == (*leading, 3)
        if kind == "iqn":
            assert made.tau.shape == (*leading, 5)


@pytest.mark.parametrize(
    "kind, space", [*((kind, FLAT) for kind in HEADS), ("scalar", PIXELS), ("iqn", PIXELS)]
)
def test_leading_axes_do_not_mix(kind, space):
    q, params, apply = build(kind, space, dueling=True)
    obs = jax.random.uniform(KEY, (2, 3, *space.shape))
    together, alone = apply(params, obs, None), apply(params, obs[1, 2], None)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x[1, 2], y, rtol=1e-5, atol=1e-6), together, alone
    )
    assert not np.allclose(values(kind, together)[0, 0], values(kind, together)[1, 2])


@pytest.mark.parametrize("kind", ["scalar", "c51"])
def test_only_differences_between_advantages_matter(kind):
    q, params, apply = build(kind, dueling=True)
    obs = jax.random.normal(KEY, (4,))
    outputs = params["params"]["ActionValues_0"]

    def shifted(layer):
        bias = {**outputs[layer], "bias": outputs[layer]["bias"] + 1.0}
        moved = {**params["params"], "ActionValues_0": {**outputs, layer: bias}}
        return apply({"params": moved}, obs, None)

    before = apply(params, obs, None)
    np.testing.assert_allclose(shifted("Dense_0"), before, atol=1e-5)
    np.testing.assert_allclose(shifted("value"), before + 1.0, atol=1e-5)


def test_dueling_values_are_the_mean_over_actions():
    module = ActionValues(3, dueling=True)
    x = jax.random.normal(KEY, (4, 6))
    params = jit(module.init, static_argnums=2)(KEY, x, 5)
    value = nn.Dense(5).apply({"params": params["params"]["value"]}, x)
    np.testing.assert_allclose(module.apply(params, x, 5).mean(-2), value, rtol=1e-4, atol=1e-5)


def test_layer_norm_makes_the_scale_of_features_irrelevant():
    x = jax.random.normal(KEY, (5, 4))
    for layer_norm in (True, False):
        module = MLP((16, 8), nn.tanh, layer_norm=layer_norm)
        params, apply = jit(module.init)(KEY, x), jit(module.apply)
        same = np.allclose(apply(params, x), apply(params, 1e3 * x), atol=1e-3)
        assert same == layer_norm


@pytest.mark.parametrize("space, layers", [(FLAT, 2), (PIXELS, 3)])
def test_layer_norm_is_where_it_was_asked_for(space, layers):
    for layer_norm in (True, False):
        q = q_network(env(space), hidden=(8, 6), head=scalar(), layer_norm=layer_norm)
        names = jax.tree_util.tree_leaves_with_path(jax.eval_shape(q.net.init, KEY))
        found = sum("LayerNorm" in str(path) for path, _ in names)
        assert found == 2 * layers * layer_norm


# Noise.


def test_noisy_layer_equals_its_equations():
    x = jax.random.normal(KEY, (5, 4))
    layer = NoisyDense(3, 1.0)
    weights = jit(layer.init)(KEY, x)["params"]
    np.testing.assert_array_equal(weights["kernel_sigma"], np.full((4, 3), 0.25))
    np.testing.assert_array_equal(weights["bias_sigma"], np.full(3, 0.25))
    mean = x @ weights["kernel"] + weights["bias"]
    np.testing.assert_allclose(layer.apply({"params": weights}, x), mean, rtol=1e-5, atol=1e-6)

    # With mean 0 and sigma 1 the weights are the noise itself.
    noise = jax.tree.map(jnp.zeros_like, weights)
    noise["kernel_sigma"], noise["bias_sigma"] = jnp.ones((4, 3)), jnp.ones(3)
    rows = jnp.concatenate([jnp.zeros((1, 4)), jnp.eye(4)])

    @jit
    @jax.vmap
    def draw(key):
        out = layer.apply({"params": noise}, rows, rngs={"noise": key})
        return out[0], out[1:] - out[0]

    bias, kernel = map(np.asarray, draw(jax.random.split(KEY, 20_000)))
    for sample in (bias[:, 0], bias[:, 2]):
        gaussian = np.sign(sample) * sample**2
        assert stats.kstest(gaussian, stats.norm.cdf).pvalue > 1e-3
    # Rank one, the noise of the outputs shared with the bias.
    inputs = kernel[:, :, 0] / bias[:, :1]
    np.testing.assert_allclose(inputs[:, :, None] * bias[:, None], kernel, rtol=1e-2, atol=1e-4)
    assert stats.kstest(np.sign(inputs[:, 1]) * inputs[:, 1] ** 2, stats.norm.cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(np.concatenate([inputs, bias], axis=1).T) - np.eye(7)).max() < 0.05


@pytest.mark.parametrize("kind", HEADS)
def test_keys_decide_the_noise_and_none_means_none(kind):
    _, params, apply = build(kind, noisy=True)
    obs = jax.random.normal(KEY, (2, 4))
    for same in (None, KEY):
        jax.tree.map(
            np.testing.assert_array_equal, apply(params, obs, same), apply(params, obs, same)
        )
    drawn = [values(kind, apply(params, obs, key)) for key in (None, KEY, OTHER_KEY)]
    for x, y in [(0, 1), (0, 2), (1, 2)]:
        assert not np.allclose(drawn[x], drawn[y])


def test_without_noise_a_key_changes_nothing():
    for kind in ("scalar", "c51", "qr"):
        _, params, apply = build(kind)
        obs = jax.random.normal(KEY, (2, 4))
        np.testing.assert_array_equal(apply(params, obs, None), apply(params, obs, KEY))


def test_fractions_are_midpoints_or_uniform_draws_for_each_observation():
    _, params, apply = build("iqn")
    obs = jnp.ones((500, 4))
    np.testing.assert_allclose(
        apply(params, obs, None).tau, np.broadcast_to(TAU, (500, 5)), rtol=1e-6
    )
    drawn = apply(params, obs, KEY)
    assert stats.kstest(np.ravel(drawn.tau), stats.uniform.cdf).pvalue > 1e-3
    assert len(np.unique(drawn.tau)) > 2400
    assert not np.allclose(drawn.tau, apply(params, obs, OTHER_KEY).tau)


def test_an_implicit_quantile_is_a_function_of_its_fraction():
    _, params, apply = build("iqn")
    obs = jax.random.normal(KEY, (2, 4))
    x = MLP((8, 6), nn.relu).apply({"params": params["params"]["MLP_0"]}, obs)
    got = apply(params, obs, KEY)
    weights = params["params"]["embedding"]
    for b, m in np.ndindex(2, 5):
        cosines = np.cos(np.pi * np.arange(64) * np.float64(got.tau[b, m]))
        embedding = np.maximum(cosines @ weights["kernel"] + weights["bias"], 0.0)
        layer = params["params"]["ActionValues_0"]["Dense_0"]
        expected = (np.float64(x[b]) * embedding) @ layer["kernel"] + layer["bias"]
        np.testing.assert_allclose(got.values[b, :, m], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("space", [FLAT, PIXELS])
def test_gradients_reach_every_sigma_and_the_convolution_has_none(space):
    q, params, _ = build("iqn", space, noisy=True, dueling=True)
    obs = jax.random.uniform(KEY, (8, *space.shape))
    slopes = jit(jax.grad(lambda p: jnp.sum(estimated(q, p, obs, KEY).values ** 2)))(params)
    leaves = jax.tree_util.tree_leaves_with_path(slopes)
    sigmas = [leaf for path, leaf in leaves if "sigma" in str(path)]
    assert len(sigmas) == 2 * 5  # two layers, the embedding, value and advantage
    assert all(np.any(leaf) for leaf in sigmas)
    convolution = [str(path) for path, _ in leaves if "Conv" in str(path)]
    assert len(convolution) == (2 if space is PIXELS else 0)
    assert not any("sigma" in path for path in convolution)


@pytest.mark.parametrize("kind", ["scalar", "iqn"])
def test_a_population_equals_its_members(kind):
    q, _, apply = build(kind, noisy=True)
    keys = jax.random.split(KEY, 3)
    population = jit(jax.vmap(q.net.init))(keys)
    obs = jax.random.normal(KEY, (2, 4))
    together = jit(jax.vmap(partial(estimated, q), (0, None, 0)))(population, obs, keys)
    for i in range(3):
        alone = apply(jax.tree.map(lambda x, i=i: x[i], population), obs, keys[i])
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-4, atol=1e-5),
            together,
            alone,
        )


# Around the network.


def test_observations_are_normalized_by_statistics_in_the_parameters():
    q, params, apply = build("scalar", normalize_observations=True)
    obs = jax.random.normal(KEY, (3, 4))
    mean, variance = jnp.arange(4.0), jnp.array([1.0, 4.0, 9.0, 0.25])
    statistics = params["statistics"].replace(mean=mean, variance=variance)
    got = apply({**params, "statistics": statistics}, obs, None)
    plain = build("scalar")[2]
    expected = plain(params["network"], (obs - mean) / jnp.sqrt(variance), None)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(q.net.encode(obs), obs)


@pytest.mark.long
def test_an_actor_explores_and_at_its_best_takes_the_highest_value():
    q, params, apply = build("c51", noisy=True)
    obs = jax.random.normal(KEY, (500, 4))
    best = jnp.argmax(q.head.q(apply(params, obs, None)), -1)
    actor = value_actor(
        q, lambda scale, progress: partial(ops.boltzmann, temperature=scale * progress)
    )
    np.testing.assert_array_equal(actor.mode(1e6)(params, obs, ())[0], best)
    action, extras, carry = actor.policy(1e6, jnp.float32(1.0))(params, obs, (), KEY)
    assert action.dtype == jnp.int32 and extras == {} and carry == ()
    assert stats.chisquare(np.bincount(action)).pvalue > 1e-3
    greedy = value_actor(q, lambda hparams, progress: ops.greedy).policy((), jnp.float32(0.0))
    drawn = [greedy(params, obs, (), key)[0] for key in (KEY, KEY, OTHER_KEY)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])  # only the weights can differ


class Linear(nn.Module):
    """A researcher's own module."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x, carry):
        assert x.ndim == 2
        x = nn.Dense(int(np.prod(self.shape)), use_bias=False)(x)
        return x.reshape(*x.shape[:-1], *self.shape), carry


@pytest.mark.parametrize("kind", ["scalar", "c51"])
def test_a_linen_module_may_be_given(kind):
    module = Linear((3, *HEADS[kind].shape))
    q = q_network(env(), module, head=HEADS[kind], normalize_observations=True)
    params = jit(q.net.init)(KEY)
    obs = jax.random.normal(KEY, (2, 5, 4))
    kernel = params["network"]["params"]["Dense_0"]["kernel"]
    expected = (obs @ kernel).reshape(2, 5, *module.shape)
    np.testing.assert_allclose(estimated(q, params, obs, None), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: q_network(env(actions=Box(-1, 1, (2,))), head=scalar(), agent="dqn"),
            r"^dqn needs a Discrete action space, not Box\(2,\) float32 in \[-1, 1\]$",
        ),
        (
            lambda: q_network(env(Box(0, 1, (1, 1, 1, 1))), head=scalar(), agent="dqn"),
            r"^dqn cannot use observations of Box\(1, 1, 1, 1\)",
        ),
        (
            lambda: q_network(env(), "gru", head=scalar(), agent="dqn"),
            "^dqn learns from single steps, and network 'gru' from sequences: use .* or r2d2",
        ),
        (lambda: q_network(env(), "mpl", head=scalar()), "'mpl' is not known; did you mean 'mlp'"),
        (lambda: q_network(env(), "cnn", head=scalar()), r"'cnn' needs .* not Box\(4,\)"),
        (lambda: q_network(env(), hidden=(0,), head=scalar()), "hidden must be a whole number"),
        (
            lambda: q_network(env(), Linear((4,)), head=scalar()),
            r"^Linear gives shapes \[\(4,\)\] for one observation, .* with shapes \[\(3,\)\] and",
        ),
        (
            lambda: q_network(env(), Linear((3, 5)), head=HEADS["iqn"]),
            r"^Linear gives shapes \[\(3, 5\)\] .* with shapes \[\(3, 5\), \(5,\)\] and",
        ),
        (
            lambda: q_network(env(), Linear((3,)), head=scalar(), noisy=True, agent="dqn"),
            "^dueling, noisy and layer_norm are for the networks that dqn builds: .* Linear$",
        ),
        (lambda: scalar("hubber"), "loss 'hubber' is not known; did you mean 'huber'"),
        (lambda: value_head("c52"), "value head 'c52' is not known; did you mean 'c51'"),
        (lambda: value_head("c51"), "^value head 'c51' needs v_min and v_max, the least and the"),
        (lambda: categorical(1.0, -1.0, 5), "v_min = 1 must be less than v_max = -1"),
        (lambda: categorical(-1.0, 1.0, 1), "num_atoms must be at least 2"),
        (lambda: categorical(-1.0, 1.0, 0), "num_atoms must be a whole number of at least 1"),
        (lambda: quantile(0), "num_quantiles must be a whole number of at least 1"),
        (lambda: implicit_quantile(0), "num_samples must be a whole number of at least 1"),
        (lambda: quantile(5, 0.0), "kappa must be above 0, not 0"),
        (lambda: implicit_quantile(5, -1.0), "kappa must be above 0, not -1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(make, message):
    with pytest.raises(UsageError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_a_network_of_policy_outputs_is_refused():
    from rljax.networks import actor_critic_network, head

    mine = actor_critic_network(FLAT, head(Discrete(3)))
    with pytest.raises(UsageError, match="^dqn needs action values, not the outputs of a Network"):
        q_network(env(), mine, head=scalar(), agent="dqn")
    with pytest.raises(
        UsageError, match=r"^the network gives shapes .* with shapes \[\(3,\)\] and"
    ):
        q_network(env(), (lambda key: 0, lambda p, x, c, key: (x, c)), head=scalar(), agent="dqn")
    with pytest.raises(UsageError, match=r"where \(estimate, carry\) is due"):
        q_network(env(), (lambda key: 0, lambda p, x, c, key: x[..., :3]), head=scalar())
    with pytest.raises(UsageError, match="^network .* is not known"):
        q_network(env(), (mine.init,), head=scalar(), agent="dqn")


def test_a_pair_of_functions_may_be_given():
    def init(key):
        return jax.random.normal(key, (4, 3))

    def apply(params, features, carry, key):
        return features @ params, carry

    q = q_network(env(), (init, apply), head=scalar(), normalize_observations=True)
    params, obs = q.net.init(KEY), jax.random.normal(KEY, (2, 5, 4))
    np.testing.assert_allclose(estimated(q, params, obs, None), obs @ params["network"], rtol=1e-5)


def test_images_are_scaled_unless_asked_otherwise():
    space = Box(0, 255, (3, 3, 1), np.uint8)
    obs = jnp.full((3, 3, 1), 51, jnp.uint8)
    for scale, seen in ((True, 0.2), (False, 51.0)):
        q = q_network(env(space), "cnn", head=scalar(), scale_images=scale)
        np.testing.assert_allclose(q.net.encode(obs), np.full((3, 3, 1), seen), rtol=1e-6)


def test_what_lies_beyond_the_atoms_is_counted_and_what_reaches_the_last_is_not():
    head = categorical(0.0, 10.0, 11)
    at = jnp.eye(11)[jnp.array([0, 5, 10, 10])] * 1e3  # logits: all on one atom
    reward, discount = jnp.array([-1.0, 1.0, 1.0, 1.0]), jnp.array([0.9, 0.9, 0.9, 0.95])
    np.testing.assert_allclose(head.clipped(at, reward, discount), [1, 0, 0, 1], atol=1e-6)
    even = head.clipped(jnp.zeros((1, 11)), jnp.array([3.0]), jnp.array([1.0]))
    np.testing.assert_allclose(even, [3 / 11], rtol=1e-6)
    assert all(HEADS[kind].clipped is None for kind in ("scalar", "qr", "iqn"))
