from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rljax.envs.spaces import Box, Dict, Discrete
from rljax.errors import UsageError
from rljax.networks import Network, head, reset_carry, unroll
from rljax.networks import actor_critic_network as network
from rljax.networks.layers import CNN, Convolution, NatureCNN

HEAD = head(Discrete(3))
FLAT, PIXELS = Box(-1, 1, (4,)), Box(0, 1, (5, 4, 2))
IMAGES = Box(0, 255, (3, 3, 1), np.uint8)
FRAMES = Box(0, 255, (36, 40, 2), np.uint8)
KEY = jax.random.key(0)


@cache
def build(space, kind="auto", act_head=HEAD, normalize=False, hidden=(6,)):
    """A small network, its initial parameters and its compiled apply."""
    net = network(space, act_head, kind, hidden=hidden, normalize_observations=normalize)
    return net, jax.jit(net.init)(KEY), jax.jit(partial(net.apply, key=None))


def zeros(tree):
    return all(not np.any(leaf) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("leading", [(), (2,), (3, 2)])
@pytest.mark.parametrize(
    "space, kind, act_head, memory",
    [
        (FLAT, "mlp", HEAD, None),
        (FLAT, "gru", head(Box(-1, 1, (2,))), 6),
        (PIXELS, "auto", HEAD, None),
        (PIXELS, "mlp", HEAD, None),
        (Discrete(4), "auto", HEAD, None),
    ],
)
def test_shapes_follow_any_leading_axes(space, kind, act_head, memory, leading):
    net = network(space, act_head, kind, hidden=(8, 6))
    carry = net.initial_carry(leading)
    assert jax.tree.map(jnp.shape, carry) == (() if memory is None else (*leading, memory))
    obs = jnp.ones((*leading, *space.shape), space.dtype)
    (outputs, value), after = jax.eval_shape(
        lambda obs, carry: net.apply(net.init(KEY), obs, carry, None), obs, carry
    )
    assert outputs.shape == (*leading, act_head.num_outputs)
    assert value.shape == leading
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, carry)


@pytest.mark.parametrize(
    "space, kind", [(FLAT, "mlp"), (FLAT, "gru"), (PIXELS, "cnn"), (FRAMES, "nature_cnn")]
)
def test_leading_axes_do_not_mix(space, kind):
    net, params, apply = build(space, kind)
    obs = jax.random.uniform(KEY, (2, 3, *space.shape))
    carry = jax.tree.map(
        lambda x: jax.random.normal(KEY, x.shape), net.initial_carry(obs.shape[:2])
    )
    together = apply(params, obs, carry)
    alone = apply(params, obs[1, 2], jax.tree.map(lambda x: x[1, 2], carry))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x[1, 2], y, rtol=1e-5, atol=1e-6), together, alone
    )


@pytest.mark.parametrize(
    "space, chosen", [(FLAT, "MLP_0"), (PIXELS, "CNN_0"), (FRAMES, "NatureCNN_0")]
)
def test_the_network_is_chosen_by_the_observations(space, chosen):
    params = jax.eval_shape(network(space, HEAD, "auto", hidden=(6,)).init, KEY)["params"]
    assert chosen in params


@pytest.mark.parametrize(
    "module, side, convolutions",
    [(CNN, 5, ["Conv3x3_0"]), (NatureCNN, 36, [f"Convolution_{i}" for i in range(3)])],
)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_layers_keep_the_names_by_which_checkpoints_know_them(
    module, side, convolutions, layer_norm
):
    torso = module((6,), nn.relu, layer_norm=layer_norm)
    params = jax.eval_shape(torso.init, KEY, jnp.zeros((side, side, 2)))["params"]
    norms = [f"LayerNorm_{i}" for i in range(len(convolutions))] if layer_norm else []
    assert {*params} == {*convolutions, *norms, "MLP_0"}
    assert {*params["MLP_0"]} == {"Dense_0", *(["LayerNorm_0"] if layer_norm else [])}


@pytest.mark.parametrize("kind, torsos", [("mlp", 2), ("cnn", 1), ("gru", 1)])
def test_policy_and_value_share_a_torso_where_promised(kind, torsos):
    net = network(PIXELS, HEAD, kind, hidden=(6,))
    params = jax.eval_shape(net.init, KEY)["params"]
    assert sum(name.startswith(("MLP", "CNN")) for name in params) == torsos


@pytest.mark.parametrize(
    "kind, std",
    [("normal", True), ("tanh_normal", False)],
)
def test_only_a_normal_has_a_deviation_that_ignores_the_observation(kind, std):
    _, params, apply = build(FLAT, act_head=head(Box(-1, 1, (2,)), kind))
    (outputs, _), _ = apply(params, jax.random.normal(KEY, (5, 4)), ())
    assert zeros(jnp.ptp(outputs[:, 2:], axis=0)) == std
    assert not zeros(jnp.ptp(outputs[:, :2], axis=0))


@pytest.mark.parametrize("size, stride", [(3, 1), (4, 2), (2, 3), (3, 2)])
def test_a_convolution_equals_flax(size, stride):
    x = jax.random.normal(KEY, (2, 3, 9, 7, 4))
    weights = {"kernel": jax.random.normal(KEY, (size, size, 4, 7)), "bias": jnp.arange(7.0)}
    theirs = nn.Conv(7, (size, size), stride, padding="VALID")
    expected = theirs.apply({"params": weights}, x)
    weights["kernel"] = weights["kernel"].reshape(-1, 7)
    got = Convolution(7, size, stride).apply({"params": {"Dense_0": weights}}, x)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_cnn_sees_where_a_pixel_is():
    _, params, apply = build(PIXELS, "cnn")
    pixel = jnp.eye(20).reshape(20, 5, 4, 1) * jnp.array([1.0, 0.0])
    (_, values), _ = apply(params, pixel, ())
    assert len(np.unique(np.round(values, 6))) == 20


@pytest.mark.parametrize(
    "kind, size", [("gru", 8), ("lstm", 16), ("min_gru", 8), ("gtrxl", 128 * (8 + 1))]
)
def test_unrolling_a_carry_equals_a_loop_that_resets_at_done(kind, size):
    length, batch = 6, 3
    net, params, apply = build(FLAT, kind, hidden=(8,))
    obs = jax.random.normal(KEY, (length, batch, 4))
    done = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]], bool)
    start = jax.random.normal(KEY, (batch, size))
    carry, expected = start, []
    for t in range(length):
        out, carry = apply(params, obs[t], carry)
        expected.append((*out, carry))
        carry = jnp.where(done[t][:, None], 0.0, carry)
    expected = [jnp.stack(each) for each in zip(*expected, strict=True)]
    # Both ways: at once, as these networks do it, and by one step after the other.
    for given in (net, net._replace(unroll=None)):
        (outputs, values), carries = jax.jit(partial(unroll, given))(
            params, obs, start, jnp.asarray(done)
        )
        for got, wanted in zip((outputs, values, carries), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_unrolling_without_a_carry_is_one_application():
    net, params, apply = build(FLAT, "mlp")
    obs = jax.random.normal(KEY, (2, 3, 4))
    (outputs, values), _ = unroll(
        net._replace(apply=lambda *a: apply(*a[:3])), params, obs, (), jnp.ones((2, 3), bool)
    )
    expected = apply(params, obs, ())[0]
    np.testing.assert_array_equal(outputs, expected[0])
    np.testing.assert_array_equal(values, expected[1])


def test_reset_carry_clears_finished_rows_to_the_initial_carry():
    net = Network(
        None, None, lambda leading: {"a": jnp.ones((*leading, 2)), "b": jnp.zeros(leading)}
    )
    carry = {"a": jnp.full((3, 2), 7.0), "b": jnp.full(3, 8.0)}
    reset = reset_carry(net, carry, jnp.array([True, False, True]))
    np.testing.assert_array_equal(reset["a"], [[1, 1], [7, 7], [1, 1]])
    np.testing.assert_array_equal(reset["b"], [0, 8, 0])


@pytest.mark.parametrize(
    "space, kind, obs, expected",
    [
        (Discrete(3), "mlp", [2, 0], [[0, 0, 1], [1, 0, 0]]),
        (Box(0, 9, (2, 2), np.int32), "mlp", [[[1, 2], [3, 4]]], None),
        (Box(0, 9, ()), "mlp", [5.0], None),
        (IMAGES, "cnn", np.full((1, 3, 3, 1), 51), np.full((1, 3, 3, 1), 0.2)),
        (IMAGES, "mlp", np.full((1, 3, 3, 1), 51), np.full((1, 3, 3, 1), 0.2)),
        (Box(0, 255, (3,), np.uint8), "mlp", [[51, 0, 255]], [[51, 0, 255]]),
        (Box(0, 255, (3, 3, 1)), "cnn", np.full((1, 3, 3, 1), 51.0), None),
    ],
)
def test_observations_are_encoded_as_float_features(space, kind, obs, expected):
    obs = np.asarray(obs, space.dtype)
    features = network(space, HEAD, kind).encode(jnp.asarray(obs))
    assert features.dtype == jnp.float32
    np.testing.assert_allclose(features, obs if expected is None else expected, rtol=1e-6)


def test_images_are_left_as_they_are_where_that_is_asked_for():
    features = network(IMAGES, HEAD, "cnn", scale_images=False).encode(jnp.full((3, 3, 1), 51))
    np.testing.assert_array_equal(features, np.full((3, 3, 1), 51.0))


class Linear(nn.Module):
    """A researcher's own module."""

    @nn.compact
    def __call__(self, x, carry):
        return (nn.Dense(3)(x), x.sum(-1)), carry


def test_a_linen_module_or_a_network_may_be_given():
    net = network(FLAT, HEAD, Linear())
    obs = jnp.arange(8.0).reshape(2, 4)
    (outputs, value), _ = net.apply(net.init(KEY), obs, (), None)
    np.testing.assert_array_equal(value, [6, 22])
    assert outputs.shape == (2, 3)
    mine = Network(
        lambda key: 2.0, lambda params, x, carry, key: ((x[..., :3] * params, x[..., 0]), carry)
    )
    for given in (mine, (mine.init, mine.apply)):
        net = network(FLAT, HEAD, given)
        (outputs, _), _ = net.apply(2.0, jnp.ones((1, 4)), net.initial_carry((1,)), None)
        np.testing.assert_array_equal(outputs, np.full((1, 3), 2.0))
    wrong = (mine.init, lambda params, x, carry, key: ((x, x[..., 0]), carry))
    with pytest.raises(UsageError, match=r"gives .*\(1, 4\).* where \(\(outputs \[\.\.\., 3\]"):
        network(FLAT, HEAD, wrong)


def test_normalized_standardizes_clips_and_gives_statistics_no_gradient():
    double = Network(
        lambda key: jnp.float32(2),
        lambda w, x, carry, key: ((w * x[..., 1:], w * x.sum(-1)), carry),
    )
    net = network(FLAT, HEAD, double, normalize_observations=True)
    params = net.init(KEY)
    statistics = params["statistics"].replace(
        mean=jnp.array([1.0, 2.0, 3.0, 0.0]), variance=jnp.array([4.0, 1.0, 1.0, 1e-12])
    )
    params = {**params, "statistics": statistics}
    obs = jnp.array([5.0, 1.0, 3.0, 1.0])
    outputs = net.apply(params, obs, (), None)[0][0]
    np.testing.assert_allclose(outputs, [-2.0, 0.0, 20.0], rtol=1e-6)
    slopes = jax.grad(lambda p: net.apply(p, obs, (), None)[0][1])(params)
    assert zeros(slopes["statistics"])
    np.testing.assert_allclose(slopes["network"], 2.0 - 1.0 + 0.0 + 10.0, rtol=1e-6)


def test_fresh_statistics_change_nothing():
    obs = jax.random.normal(KEY, (2, 3, 4))
    _, params, apply = build(FLAT, "mlp")
    _, fresh, normalized = build(FLAT, "mlp", normalize=True)
    expected, _ = apply(params, obs, ())
    got, _ = normalized(fresh, obs, ())
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "space, options, message",
    [
        (
            Dict({"eye": Box(0, 1, (2, 3, 4, 5))}),
            {},
            r"^my agent cannot use observations of Box\(2, 3, 4, 5\)",
        ),
        (Box(0, 1, (2, 3, 4, 5)), {}, r"^my agent cannot use observations of Box\(2, 3, 4, 5\)"),
        (FLAT, {"kind": "cnn"}, r"'cnn' needs .* not Box\(4,\) float32 in \[-1, 1\]; use 'mlp'"),
        (Box(0, 1, (2, 9, 1)), {"kind": "cnn"}, r"'cnn' needs .* not Box\(2, 9, 1\)"),
        (Discrete(4), {"kind": "cnn"}, r"'cnn' needs .* not Discrete\(4\)"),
        (FLAT, {"kind": "gruu"}, "network 'gruu' is not known; did you mean 'gru'"),
        (FLAT, {"activation": "than"}, "activation 'than' is not known; did you mean 'tanh'"),
        (FLAT, {"kind": "gru", "hidden": ()}, "hidden"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(space, options, message):
    with pytest.raises(UsageError, match=message) as refusal:
        network(space, HEAD, **options, agent="my agent").init(KEY)
    assert "\n" not in str(refusal.value)
