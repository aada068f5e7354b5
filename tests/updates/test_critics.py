"""Targets and losses of critics, next to loops over NumPy arrays in float64."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from still import Still

from rljax.envs.spaces import Box, Discrete
from rljax.errors import UsageError
from rljax.networks import (
    ActorAndCritics,
    Network,
    actor_and_critics,
    categorical,
    quantile,
    scalar,
)
from rljax.networks.distributions import Categorical, Head, TanhNormal, deterministic, squashed
from rljax.types import MissingField
from rljax.updates import (
    batch_statistics,
    chain,
    critic_loss,
    critic_target,
    gradient,
    joint_critic_loss,
    n_step,
    smallest,
    smoothed,
    without_largest,
)

KEY = jax.random.key(0)
T, N, F, A, E, M = 1, 40, 3, 2, 4, 5
GAMMA, ALPHA = 0.9, 0.3
CROSSED = {
    "hidden": (6,),
    "value": scalar("squared"),
    "num_critics": 2,
    "stochastic": False,
    "targets": (),
}
BOX = Box(np.array([-1.0, 0.0]), np.array([3.0, 0.5]), (A,))
ATOMS = np.linspace(-2.0, 2.0, M)
HEADS = {"scalar": scalar("squared"), "c51": categorical(-2.0, 2.0, M), "qr": quantile(M)}


def linear(space=BOX, head="scalar", stochastic=False) -> ActorAndCritics:
    """Networks that are matrices: [F, outputs], and [F + A, M] of each critic."""
    value = HEADS[head]
    width = int(np.prod(value.shape))
    if isinstance(space, Discrete):
        action_head = Head(space.n, False, Categorical, lambda raw: raw)
    elif stochastic:

        def tanh_normal(outputs):
            return TanhNormal(outputs[..., :A], outputs[..., A:])

        action_head = Head(2 * A, False, tanh_normal, squashed(space))
    else:
        action_head = deterministic(space)
    count = space.n if isinstance(space, Discrete) else 1

    def critic(weights, features, action):
        x = features if action is None else jnp.concatenate([features, action], -1)
        return (x @ weights).reshape(*x.shape[:-1], count, *value.shape)

    def init(key):
        rows = F if isinstance(space, Discrete) else F + A
        keys = iter(jax.random.split(key, 4))
        actors = (jax.random.normal(next(keys), (F, action_head.num_outputs)) for _ in "12")
        critics = (jax.random.normal(next(keys), (E, rows, count * width)) for _ in "12")
        names = ("actor", "target_actor", "critic", "target_critic")
        return dict(zip(names, (*actors, *critics), strict=True)) | {"temperature": jnp.zeros(())}

    actor = Network(init, lambda weights, x, carry, key: (x @ weights, carry))
    return ActorAndCritics(init, actor, critic, action_head, value, lambda obs: obs, space)


def experience(make_batch, space=BOX, **extras):
    rng = np.random.default_rng(3)
    shape = (T, N)
    is_box = isinstance(space, Box)
    fields = {
        "obs": rng.normal(size=(*shape, F)).astype(np.float32),
        "next_obs": rng.normal(size=(*shape, F)).astype(np.float32),
        "action": (
            rng.uniform(space.low, space.high, (*shape, A)).astype(np.float32)
            if is_box
            else rng.integers(space.n, size=shape).astype(np.int32)
        ),
        "reward": rng.normal(size=shape).astype(np.float32),
        "terminated": rng.uniform(size=shape) < 0.3,
        "truncated": rng.uniform(size=shape) < 0.3,
    }
    batch = make_batch(*shape, **{k: jnp.asarray(x) for k, x in fields.items()}, extras=extras)
    return batch, {k: x.astype(np.float64) for k, x in fields.items()}


def targets(ac, params, batch, *arguments, **options):
    """What the chain of n_step and critic_target writes."""
    update = chain(n_step(GAMMA), critic_target(ac, *arguments, **options))
    return update.apply(params, update.init(params, KEY), batch, KEY)[2].extras


def in_float64(params):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def unit(action):
    return (action - BOX.middle) / BOX.half_range


def values(weights, obs, action):
    """[E, T, N, M] of critics."""
    x = np.concatenate([obs, unit(action)], -1)
    return np.stack([x @ w for w in weights])


def bootstrapped(f, after):
    """r + discount x after: a truncated step goes on, a terminated one does not."""
    return f["reward"] + GAMMA * (1.0 - f["terminated"]) * after


def follow(params, part, obs):
    return BOX.middle + BOX.half_range * np.tanh(obs @ params[part])


@pytest.mark.parametrize("pool", ["one", "smallest"])
def test_the_target_is_of_the_target_actor_s_action_by_the_target_critics(make_batch, pool):
    ac = linear()
    params = ac.init(KEY)
    if pool == "one":
        params["target_critic"] = params["target_critic"][:1]
    batch, f = experience(make_batch)
    assert f["terminated"].any() and (f["truncated"] > f["terminated"]).any()
    found = targets(ac, params, batch, partial(ac.choices, part="target_actor"))
    p = in_float64(params)
    q = values(p["target_critic"], f["next_obs"], follow(p, "target_actor", f["next_obs"]))
    np.testing.assert_allclose(found["target"], bootstrapped(f, q[..., 0].min(0)), 1e-4, 1e-5)


def test_a_smoothed_target_has_clipped_noise_of_its_own_in_each_row(make_batch):
    ac = linear()
    params = ac.init(KEY)
    choose = smoothed(ac, 0.2, 0.3)
    rows = jnp.broadcast_to(jnp.array([[0.1, -0.2, 0.1]]), (20, 500, F))
    action = np.asarray(choose(params, rows, KEY).action, np.float64)
    mean = follow(in_float64(params), "target_actor", np.asarray(rows, np.float64))
    noise = (action - mean) / BOX.half_range
    assert np.abs(noise).max() < 0.3 + 1e-5 and (np.abs(noise) > 0.3 - 1e-5).any()
    within = np.abs(noise) < 0.299
    # Of a Gaussian cut at 1.5 deviations, 0.866 lies within; its deviation there is 0.742.
    assert abs(within.mean() - 0.866) < 0.01 and abs(noise[within].std() / 0.2 - 0.742) < 0.01
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05
    edge = np.asarray(choose({**params, "target_actor": 100 * jnp.ones((F, A))}, rows, KEY).action)
    assert (BOX.low <= edge).all() and (edge <= BOX.high).all()
    batch, f = experience(make_batch)
    found = targets(ac, params, batch, choose)["target"]
    plain = targets(ac, params, batch, smoothed(ac, 0.0, 0.3))["target"]
    certain = targets(ac, params, batch, partial(ac.choices, part="target_actor"))["target"]
    np.testing.assert_allclose(plain, certain, rtol=1e-6)
    differ = np.asarray(found != plain)
    assert differ[f["terminated"] == 0].all() and not differ[f["terminated"] == 1].any()


def temperature(params):
    return ALPHA * jnp.exp(params["temperature"])


def test_a_soft_target_has_the_log_probability_of_the_sample_it_values(make_batch):
    ac = linear(stochastic=True)
    params = ac.init(KEY) | {"temperature": jnp.float32(0.4)}
    batch, f = experience(make_batch)
    seen = []

    def choose(params, obs, key):
        seen.append(ac.choices(params, obs, key))
        return seen[-1]

    found = targets(ac, params, batch, choose, temperature=temperature)["target"]
    p = in_float64(params)
    action, log_prob = np.asarray(seen[0].action, np.float64), np.asarray(seen[0].log_prob[..., 0])
    q = values(p["target_critic"], f["next_obs"], action)[..., 0].min(0)
    expected = bootstrapped(f, q - ALPHA * np.exp(0.4) * log_prob)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_soft_target_of_discrete_actions_is_an_expectation(make_batch):
    space = Discrete(3)
    ac = linear(space)
    params = ac.init(KEY)
    batch, f = experience(make_batch, space)
    found = targets(ac, params, batch, ac.choices, temperature=temperature)["target"]
    p = in_float64(params)
    logits = f["next_obs"] @ p["actor"]
    pi = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = np.stack([f["next_obs"] @ w for w in p["target_critic"]]).min(0)
    expected = bootstrapped(f, (pi * (q - ALPHA * np.log(pi))).sum(-1))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_random_subset_of_critics_makes_the_target(make_batch):
    ac = linear()
    params = ac.init(KEY)
    batch, f = experience(make_batch)
    p = in_float64(params)
    q = values(p["target_critic"], f["next_obs"], follow(p, "target_actor", f["next_obs"]))[..., 0]
    expected = {
        pair: bootstrapped(f, q[list(pair)].min(0)) for pair in itertools.combinations(range(E), 2)
    }
    choose = partial(ac.choices, part="target_actor")
    update = chain(n_step(GAMMA), critic_target(ac, choose, num_critics=2))
    state = update.init(params, KEY)
    apply = jax.jit(lambda key: update.apply(params, state, batch, key)[2].extras["target"])
    drawn = []
    for key in jax.random.split(KEY, 60):
        found = apply(key)
        fits = [pair for pair, t in expected.items() if np.allclose(found, t, 1e-4, 1e-4)]
        assert len(fits) == 1  # one subset for the whole batch
        drawn += fits
    assert set(drawn) == set(expected)
    with pytest.raises(UsageError, match="^target_critics = 5 is more than num_critics = 4"):
        targets(ac, params, batch, choose, num_critics=5)


@pytest.mark.parametrize("dropped", [0, 2])
def test_the_largest_quantiles_of_all_critics_together_are_left_out(make_batch, dropped):
    ac = linear(head="qr", stochastic=True)
    params = ac.init(KEY)
    batch, f = experience(make_batch)
    seen = []

    def choose(params, obs, key):
        seen.append(ac.choices(params, obs, key))
        return seen[-1]

    pool = without_largest(dropped)
    found = targets(ac, params, batch, choose, pool, temperature=temperature)["target"]
    p = in_float64(params)
    action, log_prob = np.asarray(seen[0].action, np.float64), np.asarray(seen[0].log_prob[..., 0])
    z = values(p["target_critic"], f["next_obs"], action)
    kept = E * (M - dropped)
    assert found.shape == (T, N, kept)
    for t, n in np.ndindex(T, N):
        together = np.sort(z[:, t, n].ravel())[:kept] - ALPHA * log_prob[t, n]
        expected = f["reward"][t, n] + GAMMA * (1 - f["terminated"][t, n]) * together
        np.testing.assert_allclose(found[t, n], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="^dropped = 5 is more than the quantiles of a critic - 1"):
        targets(ac, params, batch, ac.choices, without_largest(M))


def test_of_distributions_the_one_with_the_least_mean_is_taken(make_batch):
    ac = linear(head="c51")
    params = ac.init(KEY)
    batch, f = experience(make_batch)
    found = targets(ac, params, batch, partial(ac.choices, part="target_actor"), smallest)
    p = in_float64(params)
    logits = values(p["target_critic"], f["next_obs"], follow(p, "target_actor", f["next_obs"]))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    which = (probabilities @ ATOMS).argmin(0)
    for t, n in np.ndindex(T, N):
        expected = np.zeros(M)
        for atom, mass in zip(ATOMS, probabilities[which[t, n], t, n], strict=True):
            moved = f["reward"][t, n] + GAMMA * (1 - f["terminated"][t, n]) * atom
            place = (np.clip(moved, -2, 2) + 2) / (ATOMS[1] - ATOMS[0])
            low = int(np.floor(place))
            expected[low] += mass * (1 - (place - low))
            expected[min(low + 1, M - 1)] += mass * (place - low)
        np.testing.assert_allclose(found["target"][t, n], expected, rtol=1e-4, atol=1e-4)
    assert found["clipped"].shape == (T, N) and (found["clipped"] > 0).any()


def test_no_gradient_flows_through_a_target(make_batch):
    ac = linear(stochastic=True)
    params = ac.init(KEY)
    batch, _ = experience(make_batch)

    def total(params):
        return targets(ac, params, batch, ac.choices, temperature=temperature)["target"].sum()

    assert all((x == 0).all() for x in jax.tree.leaves(jax.grad(total)(params)))


@pytest.mark.parametrize("space", [BOX, Discrete(3)])
def test_one_step_of_all_critics_towards_the_target(make_batch, space):
    ac = linear(space)
    params = ac.init(KEY)
    rng = np.random.default_rng(5)
    target, weight = rng.normal(size=(2, T, N)).astype(np.float32)
    batch, f = experience(make_batch, space, target=jnp.asarray(target), weight=jnp.asarray(weight))
    update = gradient(critic_loss(ac), optax.sgd(0.1), part="critic")
    after, _, written, metrics = update.apply(params, update.init(params, KEY), batch, KEY)
    p = in_float64(params)
    x = f["obs"] if space is not BOX else np.concatenate([f["obs"], unit(f["action"])], -1)
    q = np.stack([x @ w for w in p["critic"]])
    taken = 1.0 if space is BOX else np.eye(3)[f["action"].astype(int)]
    error = target - (q * taken).sum(-1)
    loss = (weight * 0.5 * error**2).mean((1, 2)).sum()
    np.testing.assert_allclose(metrics["losses/td_loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["losses/q_values"], (q * taken).sum(-1).mean(), 1e-4, 1e-5)
    np.testing.assert_allclose(written.extras["priority"], np.abs(error).mean(0), rtol=1e-4)
    for e in range(E):
        slope = (weight * error[e])[..., None] * np.broadcast_to(taken, q[e].shape)
        step = 0.1 * np.einsum("tnf,tnk->fk", x, slope) / (T * N)
        np.testing.assert_allclose(after["critic"][e], p["critic"][e] + step, 1e-4, 1e-5)
    for part in ("actor", "target_actor", "target_critic", "temperature"):
        np.testing.assert_array_equal(after[part], params[part])
    assert "losses/critic_grad_norm" in metrics and "losses/grad_norm" not in metrics


def test_quantiles_of_a_critic_may_be_fewer_than_those_of_the_target(make_batch):
    ac = linear(head="qr")
    params = ac.init(KEY)
    target = np.random.default_rng(5).normal(size=(T, N, 7)).astype(np.float32)
    batch, f = experience(make_batch, target=jnp.asarray(target))
    loss, metrics = critic_loss(ac)(params, batch, KEY)
    z = values(in_float64(params)["critic"], f["obs"], f["action"])
    tau = (np.arange(M) + 0.5) / M
    u = target[None, :, :, None, :] - z[..., :, None]
    size = np.abs(u)
    huber = np.where(size < 1, 0.5 * u**2, size - 0.5)
    rho = np.abs(tau[:, None] - (u < 0)) * huber
    expected = rho.mean(-1).sum(-1).mean((1, 2)).sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["losses/q_values"], z.mean(), rtol=1e-4)


def test_a_target_that_nobody_wrote_is_named(make_batch):
    ac = linear()
    params = ac.init(KEY)
    batch, _ = experience(make_batch)
    for update, field in (
        (critic_target(ac, ac.choices), "discount"),
        (gradient(critic_loss(ac), optax.sgd(0.1), part="critic"), "target"),
    ):
        update = chain(update)
        with pytest.raises(MissingField, match=f"reads extras\\['{field}'\\]"):
            update.apply(params, update.init(params, KEY), batch, KEY)


# CrossQ.


@pytest.mark.long
def test_without_normalised_layers_the_joint_loss_is_a_target_by_the_critics_themselves(make_batch):
    ac = actor_and_critics(Still(Box(-9, 9, (F,)), BOX), **CROSSED)
    batch, _ = experience(make_batch, discount=jnp.full((T, N), GAMMA), weight=jnp.ones((T, N)))
    params = ac.init(KEY)
    followed = {**params, "target_critic": params["critic"]}
    fit = partial(gradient, optimizer=optax.sgd(0.1), part="critic")
    joint = fit(joint_critic_loss(ac, ac.choices))
    apart = chain(critic_target(ac, ac.choices), fit(critic_loss(ac)))
    found, _, written, metrics = joint.apply(params, joint.init(params, KEY), batch, KEY)
    expected, _, same, others = apart.apply(followed, apart.init(followed, KEY), batch, KEY)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
        (found["critic"], written.extras["priority"], metrics),
        (expected["critic"], same.extras["priority"], others),
    )


@pytest.mark.long
def test_what_was_done_and_what_comes_next_are_normalised_together(make_batch):
    ac = actor_and_critics(Still(Box(-9, 9, (F,)), BOX), **CROSSED, batch_norm=True)
    batch, f = experience(make_batch, discount=jnp.full((T, N), GAMMA))
    params = ac.init(KEY)
    loss = joint_critic_loss(ac, ac.choices)
    update = chain(gradient(loss, optax.sgd(0.1), part="critic"), batch_statistics())
    after, *_ = update.apply(params, update.init(params, KEY), batch, KEY)
    moved = after["critic"]["batch_statistics"]["MLP_0"]["BatchRenorm_0"]
    following = np.asarray(ac.choices(params, batch.next_obs, KEY).action, np.float64)
    now = np.concatenate([f["obs"], unit(f["action"])], -1)
    then = np.concatenate([f["next_obs"], unit(following)], -1)
    mean = np.concatenate([now, then]).mean((0, 1))
    assert moved["mean"].shape == (2, F + A)
    np.testing.assert_allclose(moved["mean"], np.broadcast_to(0.01 * mean, (2, F + A)), atol=1e-6)
    # The policy learns from critics that are normalised by what was found so far.
    before = ac.estimate(params, batch.obs, batch.action)
    assert not np.allclose(ac.estimate({**params, **after}, batch.obs, batch.action), before)
