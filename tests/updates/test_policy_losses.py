"""The losses of policies and temperatures, next to their gradients by hand in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_critics import ALPHA, KEY, E, experience, in_float64, linear, temperature, unit

from rljax.envs.spaces import Discrete
from rljax.updates import actor_loss, average, chain, gradient, least, temperature_loss


def stepped(update, params, batch):
    after, _, written, metrics = update.apply(params, update.init(params, KEY), batch, KEY)
    return after, written, metrics


@pytest.mark.parametrize("num_critics", [None, 1])
def test_a_deterministic_policy_climbs_the_value_of_its_action(make_batch, num_critics):
    ac = linear()
    params = ac.init(KEY)
    batch, f = experience(make_batch)
    update = gradient(actor_loss(ac, num_critics=num_critics), optax.sgd(0.1), part="actor")
    after, written, metrics = stepped(update, params, batch)
    p = in_float64(params)
    weights = p["critic"][: num_critics or E].mean(0)
    raw = f["obs"] @ p["actor"]
    q = np.concatenate([f["obs"], np.tanh(raw)], -1) @ weights
    np.testing.assert_allclose(metrics["losses/policy_loss"], -q.mean(), rtol=1e-4)
    # The chain rule: dQ/da, for actions in the unit box, times da/draw.
    slope = weights[-2:, 0] * (1 - np.tanh(raw) ** 2)
    step = 0.1 * np.einsum("tnf,tna->fa", f["obs"], slope) / raw[..., 0].size
    np.testing.assert_allclose(after["actor"], p["actor"] + step, rtol=1e-4, atol=1e-5)
    for part in ("critic", "target_actor", "target_critic", "temperature"):
        np.testing.assert_array_equal(after[part], params[part])
    assert set(metrics) == {"losses/policy_loss", "losses/actor_grad_norm"}
    assert "entropy" not in written.extras


@pytest.mark.long
@pytest.mark.parametrize("of_critics", [least, average])
def test_a_soft_policy_weighs_value_against_log_probability(make_batch, of_critics):
    ac = linear(stochastic=True)
    params = ac.init(KEY) | {"temperature": jnp.float32(0.4)}
    # Where tanh saturates, its inverse knows too little.
    params["actor"] = 0.2 * params["actor"]
    batch, f = experience(make_batch)
    loss = actor_loss(ac, of_critics, temperature=temperature)
    after, written, metrics = stepped(gradient(loss, optax.sgd(0.1), part="actor"), params, batch)
    chosen = ac.choices(params, batch.obs, KEY)
    p = in_float64(params)
    action, log_prob = np.asarray(chosen.action, np.float64), np.asarray(chosen.log_prob[..., 0])
    x = np.concatenate([f["obs"], unit(action)], -1)
    q = np.stack([x @ w for w in p["critic"]])[..., 0]
    best = q.min(0) if of_critics is least else q.mean(0)
    alpha = ALPHA * np.exp(0.4)
    expected = (alpha * log_prob - best).mean()
    np.testing.assert_allclose(metrics["losses/policy_loss"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["losses/temperature"], alpha, rtol=1e-6)
    np.testing.assert_allclose(written.extras["entropy"], -log_prob, rtol=1e-6)
    np.testing.assert_allclose(metrics["losses/entropy"], -log_prob.mean(), rtol=1e-5)
    # The gradient with respect to the means, by hand: the noise of the sample stays.
    outputs = f["obs"] @ p["actor"]
    u = np.arctanh(unit(action))
    eps = (u - outputs[..., :2]) / np.exp(outputs[..., 2:])
    which = p["critic"][q.argmin(0)] if of_critics is least else p["critic"].mean(0)
    by_action = which[..., -2:, 0]
    # log pi = -log std - log(1 - tanh(u)^2) + ..., whose derivative by u is 2 tanh(u).
    by_raw = alpha * 2 * np.tanh(u) - by_action * (1 - np.tanh(u) ** 2)
    by_outputs = np.concatenate([by_raw, by_raw * eps * np.exp(outputs[..., 2:]) - alpha], -1)
    step = 0.1 * np.einsum("tnf,tno->fo", f["obs"], by_outputs) / log_prob.size
    np.testing.assert_allclose(after["actor"], p["actor"] - step, rtol=1e-3, atol=1e-4)


def test_a_soft_policy_of_discrete_actions_needs_no_sample(make_batch):
    space = Discrete(3)
    ac = linear(space)
    params = ac.init(KEY)
    batch, f = experience(make_batch, space)
    loss = actor_loss(ac, least, temperature=temperature)
    update = gradient(loss, optax.sgd(0.1), part="actor")
    after, written, metrics = stepped(update, params, batch)
    again, *_ = update.apply(params, update.init(params, KEY), batch, jax.random.key(7))
    np.testing.assert_array_equal(after["actor"], again["actor"])
    p = in_float64(params)
    logits = f["obs"] @ p["actor"]
    pi = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = np.stack([f["obs"] @ w for w in p["critic"]]).min(0)
    soft = ALPHA * np.log(pi) - q
    np.testing.assert_allclose(metrics["losses/policy_loss"], (pi * soft).sum(-1).mean(), 1e-4)
    np.testing.assert_allclose(written.extras["entropy"], -(pi * np.log(pi)).sum(-1), rtol=1e-4)
    by_logits = pi * (soft - (pi * soft).sum(-1, keepdims=True))
    step = 0.1 * np.einsum("tnf,tna->fa", f["obs"], by_logits) / pi[..., 0].size
    np.testing.assert_allclose(after["actor"], p["actor"] - step, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [-3.0, 3.0])
def test_the_temperature_rises_where_there_is_too_little_entropy(make_batch, target):
    entropy = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
    batch, _ = experience(make_batch, entropy=jnp.asarray(entropy))
    params = {"temperature": jnp.float32(0.5), "actor": jnp.ones(2)}
    update = gradient(temperature_loss(jnp.float32(target)), optax.sgd(0.1), part="temperature")
    after, _, metrics = stepped(update, params, batch)
    gap = entropy.astype(np.float64).mean() - target
    np.testing.assert_allclose(metrics["losses/temperature_loss"], 0.5 * gap, rtol=1e-5)
    np.testing.assert_allclose(after["temperature"], 0.5 - 0.1 * gap, rtol=1e-5)
    assert (after["temperature"] > 0.5) == (target > 0)
    np.testing.assert_array_equal(after["actor"], params["actor"])


def test_the_temperature_reads_the_entropy_that_the_policy_s_loss_wrote(make_batch):
    ac = linear(stochastic=True)
    params = ac.init(KEY)
    batch, _ = experience(make_batch)
    of_actor = gradient(actor_loss(ac, temperature=temperature), optax.sgd(0.1), part="actor")
    of_temperature = gradient(temperature_loss(-2.0), optax.sgd(0.1), part="temperature")
    after, _, metrics = stepped(chain(of_actor, of_temperature), params, batch)
    expected = -0.1 * (float(metrics["losses/entropy"]) + 2.0)
    np.testing.assert_allclose(after["temperature"], expected, rtol=1e-5)


def test_a_target_entropy_may_be_of_the_state(make_batch):
    entropy = jnp.array([[1.0, 2.0]])
    batch = make_batch(1, 2, {"entropy": entropy}, obs=jnp.array([[3.0, 7.0]]))
    update = gradient(temperature_loss(lambda obs: 2 * obs), optax.sgd(0.1), part="temperature")
    after, _, _ = stepped(update, {"temperature": jnp.float32(0.0)}, batch)
    np.testing.assert_allclose(after["temperature"], -0.1 * ((1 - 6) + (2 - 14)) / 2, rtol=1e-6)
