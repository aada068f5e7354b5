"""Policies and ensembles of critics, next to networks worked out by hand in float64."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from still import Still

from rljax.envs.spaces import Box, Dict, Discrete
from rljax.errors import UsageError
from rljax.networks import actor_and_critics, categorical, implicit_quantile, quantile, scalar
from rljax.updates import observation_statistics

KEY = jax.random.key(0)
T, N, F, E = 2, 3, 4, 3
FLAT, IMAGE = Box(-np.inf, np.inf, (F,)), Box(0, 255, (5, 5, 1), np.uint8)
ARM = Box(np.array([-1.0, 0.0]), np.array([3.0, 0.5]), (2,))
OBS = jax.random.normal(jax.random.key(1), (T, N, F))
SMALL: dict[str, Any] = {"hidden": (5,), "value": scalar()}


def build(actions=ARM, observations=FLAT, **options):
    return actor_and_critics(Still(observations, actions), **{**SMALL, **options})


def relu_layer(params, x, last: bool = False):
    """A dense layer in float64."""
    x = x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)
    return x if last else np.maximum(x, 0)


def by_hand(params, x, head: str):
    """A torso of one layer and what stands on it."""
    params = params["params"]
    return relu_layer(params[head]["Dense_0"], relu_layer(params["MLP_0"]["Dense_0"], x), True)


@pytest.mark.parametrize("value", [scalar(), categorical(0.0, 1.0, 5), quantile(4)])
def test_each_critic_has_weights_of_its_own_and_sees_actions_scaled_to_the_unit_box(value):
    ac = build(num_critics=E, value=value)
    params = ac.init(KEY)
    unit = np.random.default_rng(0).uniform(-1, 1, (T, N, 2))
    action = np.array([1.0, 0.25]) + unit * np.array([2.0, 0.25])
    found = ac.estimate(params, OBS, jnp.asarray(action, jnp.float32))
    assert found.shape == (E, T, N, 1, *value.shape)
    x = np.concatenate([np.asarray(OBS, np.float64), unit], -1)
    for e in range(E):
        critic = jax.tree.map(lambda leaf, e=e: leaf[e], params["critic"])
        expected = by_hand(critic, x, "ActionValues_0").reshape(T, N, 1, *value.shape)
        np.testing.assert_allclose(found[e], expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-2)
    some = ac.estimate(params, OBS, jnp.asarray(action, jnp.float32), which=jnp.array([2, 0]))
    np.testing.assert_allclose(some, found[jnp.array([2, 0])], rtol=1e-5, atol=1e-6)


def test_target_parts_begin_as_copies_that_share_no_buffer():
    params = build(
        targets=("critic", "actor"), parts={"temperature": lambda key: jnp.zeros(())}
    ).init(KEY)
    parts = ["actor", "critic", "target_actor", "target_critic", "temperature"]
    assert sorted(params) == parts and params["temperature"] == 0
    for part in ("actor", "critic"):
        jax.tree.map(np.testing.assert_array_equal, params[part], params[f"target_{part}"])
    leaves = jax.tree.leaves(params)
    assert len({x.unsafe_buffer_pointer() for x in leaves}) == len(leaves)


def test_each_network_reads_the_part_it_is_told_to():
    ac = build(targets=("critic", "actor"), stochastic=False)
    params, other = ac.init(KEY), ac.init(jax.random.key(9))
    mixed = {**params, "target_actor": other["actor"], "target_critic": other["critic"]}
    for given, part in ((params, "actor"), (other, "target_actor")):
        action = ac.choices(given, OBS, KEY).action
        np.testing.assert_array_equal(ac.choices(mixed, OBS, KEY, part).action, action)
        critic = part.replace("actor", "critic")
        expected = ac.estimate(given, OBS, action)
        np.testing.assert_array_equal(ac.estimate(mixed, OBS, action, critic), expected)


def test_a_sample_of_a_box_has_the_density_of_its_action_in_the_unit_box():
    ac = build()
    params = jax.tree.map(lambda x: x + 0.05, ac.init(KEY))
    outputs = by_hand(params["actor"], np.asarray(OBS, np.float64), "Outputs_0")
    mean, std = outputs[..., :2], np.exp(np.clip(outputs[..., 2:], -5, 2))
    chosen = ac.choices(params, OBS, KEY)
    unit = (np.asarray(chosen.action, np.float64) - [1.0, 0.25]) / [2.0, 0.25]
    u = np.arctanh(unit)
    normal = -0.5 * ((u - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    expected = np.sum(normal - np.log(1 - unit**2), axis=-1)
    np.testing.assert_allclose(chosen.log_prob[..., 0], expected, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(chosen.probability, np.ones((T, N, 1)))
    np.testing.assert_allclose(chosen.entropy, -chosen.log_prob[..., 0])
    best, _ = ac.mode(params, OBS[0], ())
    expected = [1.0, 0.25] + np.tanh(mean[0]) * [2.0, 0.25]
    np.testing.assert_allclose(best, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_every_row_of_a_sample_has_noise_of_its_own():
    ac = build()
    params = ac.init(KEY)
    same = jnp.broadcast_to(OBS[0, 0], (50, 40, F))
    raw = np.asarray(ac.choices(params, same, KEY).action)
    assert len(np.unique(raw[..., 0])) > 1_990
    other = np.asarray(ac.choices(params, same, jax.random.key(5)).action)
    assert (raw != other).mean() > 0.99


@pytest.mark.long
def test_of_a_discrete_space_all_actions_are_valued_and_weighted():
    ac = build(Discrete(3), num_critics=2)
    params = ac.init(KEY)
    chosen = ac.choices(params, OBS, KEY)
    logits = by_hand(params["actor"], np.asarray(OBS, np.float64), "Outputs_0")
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert chosen.action is None
    np.testing.assert_allclose(chosen.probability, expected, rtol=1e-4)
    np.testing.assert_allclose(chosen.entropy, -(expected * np.log(expected)).sum(-1), rtol=1e-4)
    found = ac.estimate(params, OBS, chosen.action)
    critic = jax.tree.map(lambda leaf: leaf[1], params["critic"])
    expected = by_hand(critic, np.asarray(OBS, np.float64), "ActionValues_0")
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)


def test_a_deterministic_policy_is_its_mode_and_is_certain():
    ac = build(stochastic=False)
    params = ac.init(KEY)
    outputs = by_hand(params["actor"], np.asarray(OBS, np.float64), "Outputs_0")
    expected = [1.0, 0.25] + np.tanh(outputs) * [2.0, 0.25]
    chosen = ac.choices(params, OBS, KEY)
    np.testing.assert_allclose(chosen.action, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(chosen.entropy, np.zeros((T, N)))
    np.testing.assert_allclose(ac.mode(params, OBS[0], ())[0], expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ac.policy(params, OBS[0], (), KEY)[0], expected[0], rtol=1e-4)


def test_one_snapshot_of_the_statistics_serves_policy_critics_and_targets(make_batch):
    ac = build(normalize_observations=True, targets=("actor", "critic"))
    params = ac.init(KEY)
    assert params["statistics"].mean.shape == (F,)
    batch = make_batch(T, N, obs=3.0 + 5.0 * OBS)
    update = observation_statistics(ac.encode)
    after, *_ = update.apply(params, update.init(params, KEY), batch, KEY)
    raw = 3.0 + 5.0 * np.asarray(OBS, np.float64)
    standard = (raw - raw.mean((0, 1))) / np.sqrt(raw.var((0, 1)) + 1e-8)
    plain = {name: part for name, part in after.items() if name != "statistics"}
    action = ac.choices(after, batch.obs, KEY).action
    for part in ("critic", "target_critic"):
        np.testing.assert_allclose(
            ac.estimate(after, batch.obs, action, part),
            ac.estimate(plain, jnp.asarray(standard, jnp.float32), action, part),
            rtol=1e-4,
            atol=1e-4,
        )
    expected = ac.mode(plain, jnp.asarray(standard, jnp.float32)[0], ())[0]
    np.testing.assert_allclose(ac.mode(after, batch.obs[0], ())[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("actions", [ARM, Discrete(3)])
@pytest.mark.long
def test_pixels_meet_the_action_behind_the_convolutions(actions):
    ac = build(actions, IMAGE, layer_norm=True)
    params = ac.init(KEY)
    obs = jax.random.randint(KEY, (T, N, 5, 5, 1), 0, 255).astype(jnp.uint8)
    low = None if isinstance(actions, Discrete) else jnp.broadcast_to(actions.low, (T, N, 2))
    found = ac.estimate(params, obs, low)
    assert found.shape == (1, T, N, 3 if low is None else 1)
    assert ac.mode(params, obs[0], ())[0].shape == (N, *actions.shape)
    if low is not None:
        assert not np.allclose(found, ac.estimate(params, obs, low + 0.2))


def test_an_action_that_has_no_choice_is_valued():
    ac = build(Box(np.array([0.0, -1.0]), np.array([0.0, 1.0]), (2,)))
    params = ac.init(KEY)
    action = ac.choices(params, OBS, KEY).action
    assert np.isfinite(ac.estimate(params, OBS, action)).all() and (action[..., 0] == 0).all()


class Linear(nn.Module):
    """A researcher's own network."""

    size: int

    @nn.compact
    def __call__(self, x, carry):
        return nn.Dense(self.size, use_bias=False)(x), carry


@dataclass
class Own:
    """A researcher's own critic, as functions."""

    size: int = 1

    def init(self, key):
        return jax.random.normal(key, (F + 2, self.size))

    def apply(self, params, features, action):
        return jnp.concatenate([features, action], -1) @ params


def test_networks_of_ones_own_may_be_given():
    own = Own()
    ac = build(kind=Linear(4), critic_kind=(own.init, own.apply), num_critics=2)
    params = ac.init(KEY)
    action = jnp.broadcast_to(ARM.high, (T, N, 2))
    expected = np.concatenate([OBS, np.ones((T, N, 2))], -1) @ np.asarray(params["critic"][1])
    found = ac.estimate(params, OBS, action)
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)
    kernel = np.asarray(params["actor"]["params"]["Dense_0"]["kernel"], np.float64)
    expected = ARM.middle + ARM.half_range * np.tanh(np.asarray(OBS[0]) @ kernel[:, :2])
    np.testing.assert_allclose(ac.mode(params, OBS[0], ())[0], expected, rtol=1e-4, atol=1e-5)


DEEP = Dict({"eye": Box(0, 1, (1, 1, 1, 1))})
UNBOUNDED = Box(-np.inf, 1.0, (2,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"actions": Discrete(3), "stochastic": False},
            r"^ddpg needs a Box of one axis as its action space, not Discrete\(3\): use sac, which",
        ),
        (
            {"actions": UNBOUNDED},
            r"^ddpg needs actions with finite bounds, not Box\(2,\) .* or ippo$",
        ),
        ({"actions": Box(-1, 1, (2, 2))}, "^ddpg needs a Discrete action space or a Box of one"),
        ({"observations": DEEP}, r"^ddpg cannot use observations of Box\(1, 1, 1, 1\)"),
        (
            {"observations": Dict({"eye": IMAGE}), "batch_norm": True},
            "^ddpg normalises the layers of an MLP, and not those of 'cnn'",
        ),
        (
            {"kind": "gru"},
            "^ddpg learns from single steps, .* 'mlp' or 'cnn', or ppo, which learns",
        ),
        ({"critic_kind": "lstm"}, "^ddpg learns from single steps, and network 'lstm' from seq"),
        ({"critic_kind": "mpl"}, "'mpl' is not known; did you mean 'mlp'"),
        ({"activation": "rleu"}, "did you mean 'relu'"),
        ({"value": implicit_quantile(3)}, '^ddpg has no fractions .* "scalar", "c51" or "qr"$'),
        ({"num_critics": 0}, "^num_critics must be a whole number of at least 1, not 0$"),
        (
            {"kind": Linear(3)},
            r"^the networks of ddpg give policy outputs \(3,\) .* \(4,\) and",
        ),
        (
            {"critic_kind": (Own(2).init, Own(2).apply)},
            r"an estimate \(2,\) for one observation, where \(4,\) and \(1,\) are due$",
        ),
        (
            {"critic_kind": (Own().init, Own().apply), "layer_norm": True},
            "^a critic_network of one's own for ddpg is a linen module or a pair, and layer_norm",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(options, message):
    with pytest.raises(UsageError, match=message) as refusal:
        build(**{"agent": "ddpg", **options})
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 250
