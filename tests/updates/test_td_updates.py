"""Targets of temporal differences and their loss, next to loops over NumPy arrays."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import ops
from rljax.networks import ActorCritic, Network, QNetwork, scalar, with_target
from rljax.types import MissingField
from rljax.updates import chain, n_step, td
from rljax.updates.advantages import n_step_advantage, rewards_to_go

KEY = jax.random.key(0)
S, A, T, N = 6, 3, 7, 4
GAMMA = 0.9
ENDS = [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.25, 0.25)]


def table_network(loss: str = "squared") -> QNetwork:
    """Parameters [S, A], whatever the key; a network as far as updates can tell."""
    net = Network(lambda key: jnp.zeros((S, A)), lambda q, obs, carry, key: (q[obs], carry))
    return QNetwork(net, scalar(loss))


Q = table_network()


def experience(make_batch, p_terminated=0.25, p_truncated=0.25, shape=(T, N), **extras):
    """A random rollout [T, N] over a table, and its fields as NumPy arrays."""
    rng = np.random.default_rng(7)
    fields = {
        "obs": rng.integers(S, size=shape),
        "next_obs": rng.integers(S, size=shape),
        "action": rng.integers(A, size=shape),
        "reward": rng.normal(size=shape).astype(np.float32),
        "terminated": rng.uniform(size=shape) < p_terminated,
        "truncated": rng.uniform(size=shape) < p_truncated,
    }
    batch = make_batch(
        *shape, **{name: jnp.asarray(x) for name, x in fields.items()}, extras=extras
    )
    return batch, fields


def tables(count: int = 1):
    return np.random.default_rng(11).normal(size=(count, S, A)).astype(np.float32)


def spanned(f, t, e, n):
    """Discounted sum, factor of what comes after and row of the last of n steps from (t, e)."""
    total, factor = 0.0, 1.0
    for row in range(t, min(t + n, len(f["reward"]))):
        total += factor * float(f["reward"][row, e])
        factor *= GAMMA
        if f["terminated"][row, e]:
            return total, 0.0, row
        if f["truncated"][row, e]:
            break
    return total, factor, row


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("n", [1, 3, T])
@pytest.mark.parametrize("rows", [None, 1, 2])
def test_n_step_replaces_what_the_target_reads_by_that_of_the_last_step(make_batch, ends, n, rows):
    batch, f = experience(make_batch, *ends, weight=jnp.arange(28.0).reshape(T, N))
    _, _, after, metrics = n_step(GAMMA, n, rows).apply(None, (), batch, KEY)
    assert metrics == {}
    kept = rows or T
    assert after.reward.shape == after.extras["last"].shape == (kept, N)
    assert after.extras["last"].dtype == jnp.int32
    after = jax.tree.map(np.asarray, after)
    for t, e in np.ndindex(kept, N):
        total, factor, last = spanned(f, t, e, n)
        np.testing.assert_allclose(after.reward[t, e], total, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after.extras["discount"][t, e], factor, rtol=1e-5)
        assert after.extras["last"][t, e] == last
        for name in ("next_obs", "terminated", "truncated"):
            assert getattr(after, name)[t, e] == f[name][last, e]
        # What is of the step itself stays.
        for name in ("obs", "action"):
            assert getattr(after, name)[t, e] == f[name][t, e]
    for name in ("weight", "index"):
        np.testing.assert_array_equal(after.extras[name], batch.extras[name][:rows])


def target_of(update, params, batch, key=KEY):
    """The target after `n_step(GAMMA, 1)`, which leaves the batch as it is, and `update`."""
    update = chain(n_step(GAMMA, 1), update)
    _, _, after, metrics = update.apply(params, update.init(params, KEY), batch, key)
    assert metrics == {}
    return np.asarray(after.extras["target"])


def one_step(f, next_value):
    return f["reward"] + GAMMA * ~f["terminated"] * next_value


def test_greedy_targets_take_the_best_next_value(make_batch):
    batch, f = experience(make_batch)
    (q,) = tables()
    expected = one_step(f, q[f["next_obs"]].max(-1))
    np.testing.assert_allclose(target_of(td.td_target(Q), jnp.array(q), batch), expected, rtol=1e-5)


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("n", [1, 3, T + 2])
def test_initial_priorities_are_the_errors_of_who_acted(make_batch, ends, n):
    rng = np.random.default_rng(3)
    recorded = rng.normal(size=(T, N, A)).astype(np.float32)
    batch, f = experience(make_batch, *ends, action_values=jnp.asarray(recorded))
    (now,) = tables()
    update = td.initial_priorities(Q, GAMMA, n)
    _, _, after, metrics = update.apply(jnp.array(now), (), batch, KEY)
    assert metrics == {}
    shortened = 0
    for t, e in np.ndindex(T, N):
        total, factor, last = spanned(f, t, e, n)
        shortened += last == T - 1 and t > T - n
        if last + 1 < T and not f["truncated"][last, e]:
            following = np.float64(recorded[last + 1, e]).max()
        else:  # Nobody recorded a value of what follows.
            following = np.float64(now[f["next_obs"][last, e]]).max()
        error = total + factor * following - np.float64(recorded[t, e, f["action"][t, e]])
        np.testing.assert_allclose(after.extras["priority"][t, e], abs(error), rtol=1e-4, atol=1e-5)
    assert shortened > 0 or n == 1
    # What is stored stays what it was.
    stored = [jax.tree.leaves(steps.replace(extras=())) for steps in (after, batch)]
    assert all(x is y for x, y in zip(*stored, strict=True))


def with_target_network(next_policy, batch, target, now):
    """The target of parameters `now`, by the target network `target`."""
    params = {"online": jnp.array(now), "target": jnp.array(target)}
    return target_of(td.td_target(with_target(Q), next_policy), params, batch)


def epsilon_greedy(q):
    return ops.epsilon_greedy(q, 0.3)


def test_the_target_network_values_what_the_next_policy_chooses(make_batch):
    batch, f = experience(make_batch)
    target, now = tables(2)
    after_target, after_now = target[f["next_obs"]], now[f["next_obs"]]
    assert (after_target.argmax(-1) != after_now.argmax(-1)).any()

    found = with_target_network(td.greedy, batch, target, now)
    np.testing.assert_allclose(found, one_step(f, after_target.max(-1)), rtol=1e-5, atol=1e-6)

    chosen = after_now.argmax(-1)[..., None]
    expected = one_step(f, np.take_along_axis(after_target, chosen, -1)[..., 0])
    found = with_target_network(td.double, batch, target, now)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    mean = 0.7 * after_target.max(-1) + 0.3 * after_target.mean(-1)
    found = with_target_network(td.expected(epsilon_greedy), batch, target, now)
    np.testing.assert_allclose(found, one_step(f, mean), rtol=1e-5, atol=1e-6)


def test_expected_targets_are_the_mean_under_the_policy_that_explores(make_batch):
    batch, f = experience(make_batch)
    (q,) = tables()
    mean = 0.7 * q[f["next_obs"]].max(-1) + 0.3 * q[f["next_obs"]].mean(-1)
    found = target_of(td.td_target(Q, td.expected(epsilon_greedy)), jnp.array(q), batch)
    np.testing.assert_allclose(found, one_step(f, mean), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sarsa_takes_the_action_taken_next_where_the_batch_knows_it(make_batch, n):
    batch, f = experience(make_batch, 0.15, 0.15)
    (q,) = tables()
    asked = []

    def never_last(values):
        """Either of the first two actions; and a record of what it was asked."""
        asked.append(np.asarray(values))
        return jnp.broadcast_to(jnp.array([0.5, 0.5, 0.0]), values.shape)

    update = chain(n_step(GAMMA, n), td.td_target(Q, td.taken(never_last)))
    state, drawn = update.init(jnp.array(q), KEY), {}
    known, kept = 0, batch
    for seed in range(20):
        _, _, after, _ = update.apply(jnp.array(q), state, kept, jax.random.key(seed))
        target = np.asarray(after.extras["target"])
        for t, e in np.ndindex(T, N):
            total, factor, last = spanned(f, t, e, n)
            if f["terminated"][last, e]:
                expected = [total]
            elif last + 1 < T and not f["truncated"][last, e]:
                # What was done in the row after, at what was seen when this step's end was.
                expected = [total + factor * q[f["next_obs"][last, e], f["action"][last + 1, e]]]
                known += 1
            else:
                expected = [total + factor * q[f["next_obs"][last, e], a] for a in (0, 1)]
                near = np.isclose(target[t, e], expected, rtol=1e-5, atol=1e-5)
                drawn.setdefault((t, e), set()).add(int(near.argmax()))
            assert np.isclose(target[t, e], expected, rtol=1e-5, atol=1e-5).any()
    assert known and len(drawn) > N and all(len(found) == 2 for found in drawn.values())
    # A truncated episode goes on from what was observed last.
    assert any(f["truncated"][t, e] for t, e in drawn)
    np.testing.assert_allclose(asked[0][-1], q[f["next_obs"][-1]])


def test_without_a_target_network_targets_are_made_by_the_parameters(make_batch):
    batch, f = experience(make_batch)
    update = td.td_target(Q)
    batch = n_step(GAMMA).apply(None, (), batch, KEY)[2]
    assert update.init(jnp.zeros((S, A)), KEY) == ()
    for q in tables(3):
        params, state, after, _ = update.apply(jnp.array(q), (), batch, KEY)
        np.testing.assert_array_equal(params, q)
        assert state == ()
        expected = one_step(f, q[f["next_obs"]].max(-1))
        np.testing.assert_allclose(after.extras["target"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("has_target", [False, True])
@pytest.mark.parametrize("policy", [td.greedy, td.double, td.expected(jax.nn.softmax)])
def test_no_gradient_flows_through_targets(make_batch, has_target, policy):
    batch, _ = experience(make_batch)
    update = chain(n_step(GAMMA), td.td_target(with_target(Q) if has_target else Q, policy))

    def total(q):
        params = {"online": q, "target": 2 * q} if has_target else q
        *_, after, _ = update.apply(params, update.init(params, KEY), batch, KEY)
        return jnp.sum(after.extras["target"])

    np.testing.assert_array_equal(jax.grad(total)(jnp.array(tables()[0])), np.zeros((S, A)))


def lambda_loop(f, next_value, lambda_):
    target = np.zeros_like(next_value, np.float64)
    for t in reversed(range(T)):
        for e in range(N):
            later = next_value[t, e]
            if t + 1 < T and not f["truncated"][t, e]:
                later = (1 - lambda_) * next_value[t, e] + lambda_ * target[t + 1, e]
            going_on = 0.0 if f["terminated"][t, e] else GAMMA
            target[t, e] = f["reward"][t, e] + going_on * later
    return target


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("lambda_", [0.0, 0.65, 1.0])
def test_lambda_targets_mix_the_best_values_along_the_rollout(make_batch, ends, lambda_):
    batch, f = experience(make_batch, *ends)
    (q,) = tables()
    _, _, after, metrics = td.lambda_target(Q, GAMMA, lambda_).apply(jnp.array(q), (), batch, KEY)
    assert metrics == {}
    expected = lambda_loop(f, q[f["next_obs"]].max(-1), lambda_)
    np.testing.assert_allclose(after.extras["target"], expected, rtol=1e-5, atol=1e-5)


def huber(error):
    size = np.abs(error)
    return np.where(size < 1, 0.5 * size**2, size - 0.5)


LOSSES = {"squared": lambda error: 0.5 * error**2, "huber": huber}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_weighted_mean_distance_and_the_priority_its_size(
    make_batch, loss, weighted
):
    rng = np.random.default_rng(1)
    target, weight = 3 * rng.normal(size=(T, N)), rng.uniform(size=(T, N))
    extras = {"target": jnp.array(target, jnp.float32)}
    if weighted:
        extras["weight"] = jnp.array(weight, jnp.float32)
    batch, f = experience(make_batch, **extras)
    (q,) = tables()
    found, metrics = td.q_loss(table_network(loss))(jnp.array(q), batch, KEY)
    value = q[f["obs"], f["action"]]
    error = target - value
    assert (np.abs(error) > 1).any() and (np.abs(error) < 1).any()
    expected = np.mean(LOSSES[loss](error) * (weight if weighted else 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics.pop("losses/td_loss"), expected, rtol=1e-5)
    np.testing.assert_allclose(metrics.pop("losses/q_values"), value.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics.pop("priority"), np.abs(error), rtol=1e-5, atol=1e-6)
    assert metrics == {}


def test_descending_the_loss_moves_the_values_of_the_actions_taken_only(make_batch):
    batch, f = experience(make_batch, target=jnp.full((T, N), 10.0))
    grads = jax.grad(lambda q: td.q_loss(Q)(q, batch, KEY)[0])(jnp.array(tables()[0]))
    taken = np.zeros((S, A), bool)
    taken[f["obs"], f["action"]] = True
    assert not taken.all()
    np.testing.assert_array_equal(np.asarray(grads) < 0, taken)
    np.testing.assert_array_equal(np.asarray(grads) == 0, ~taken)


def loss_update():
    from rljax.updates import clipped_adam, gradient

    return gradient(td.q_loss(Q), clipped_adam(0.1, 1.0))


@pytest.mark.parametrize(
    ("update", "named", "field"),
    [
        (td.td_target(Q), "td_target", "discount"),
        (td.td_target(Q, td.taken(epsilon_greedy)), "td_target", "last"),
        (loss_update(), "gradient", "target"),
    ],
)
def test_a_missing_field_is_an_error_that_names_the_update_and_the_field(
    make_batch, update, named, field
):
    batch, _ = experience(make_batch)
    params, update = jnp.zeros((S, A)), chain(update)
    with pytest.raises(MissingField) as refusal:
        jax.eval_shape(lambda: update.apply(params, update.init(params, KEY), batch, KEY))
    message = str(refusal.value)
    assert message.startswith(f"update {named} reads extras['{field}']") and "index" in message


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("n", [1, 3, T])
def test_n_step_advantages_are_returns_minus_values(make_batch, ends, n):
    def apply(params, obs, carry, key):
        return ((), params[obs] + carry), 1 - carry / 2

    fresh = 0.3
    net = Network(lambda key: (), apply, lambda leading: jnp.full(leading, fresh))
    recurrent = ActorCritic(net, head=None).value
    batch, f = experience(make_batch, *ends)
    carry = np.random.default_rng(3).normal(size=(T, N)).astype(np.float32)
    for t in range(T - 1):
        goes_on = ~(f["terminated"] | f["truncated"])[t]
        f["next_obs"][t] = np.where(goes_on, f["obs"][t + 1], f["next_obs"][t])
        carry[t + 1] = np.where(goes_on, 1 - carry[t] / 2, fresh)
    batch = replace(batch, next_obs=jnp.array(f["next_obs"])).annotate(carry=jnp.array(carry))
    v = tables()[0][:, 0]
    update = n_step_advantage(recurrent, GAMMA, n)
    _, _, after, metrics = update.apply(jnp.array(v), (), batch, KEY)
    values = v[f["obs"]] + np.asarray(carry)
    target = np.zeros((T, N))
    for t, e in np.ndindex(T, N):
        total, factor, last = spanned(f, t, e, n)
        # The next observation is valued with the carry after the step.
        target[t, e] = total + factor * (v[f["next_obs"][last, e]] + 1 - carry[last, e] / 2)
    np.testing.assert_allclose(after.extras["target"], target, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after.extras["value"], values, rtol=1e-6)
    np.testing.assert_allclose(after.extras["advantage"], target - values, rtol=1e-4, atol=1e-5)
    explained = 1 - np.var(target - values) / np.var(target)
    np.testing.assert_allclose(metrics["losses/explained_variance"], explained, rtol=1e-4)
    np.testing.assert_array_equal(after.reward, batch.reward)


@pytest.mark.parametrize("ends", ENDS)
def test_rewards_to_go_count_in_complete_episodes_only(make_batch, ends):
    batch, f = experience(make_batch, *ends)
    _, _, after, metrics = rewards_to_go(GAMMA).apply(None, (), batch, KEY)
    done = f["terminated"] | f["truncated"]
    returns, complete = np.zeros((T, N)), np.zeros((T, N), bool)
    for t, e in np.ndindex(T, N):
        ending = np.flatnonzero(done[t:, e])
        if ending.size:
            rewards = f["reward"][t : t + ending[0] + 1, e]
            returns[t, e] = rewards @ GAMMA ** np.arange(len(rewards))
            complete[t, e] = True
    fraction = complete.mean()
    assert fraction < 1 and (fraction > 0) == done.any()
    np.testing.assert_allclose(metrics["losses/complete"], fraction, rtol=1e-6)
    advantage = np.asarray(after.extras["advantage"])
    np.testing.assert_allclose(advantage, returns / max(fraction, 1e-9), rtol=1e-5, atol=1e-6)
    if done.any():
        # A mean over the batch is one over the steps that count.
        np.testing.assert_allclose(advantage.mean(), returns[complete].mean(), rtol=1e-4)
