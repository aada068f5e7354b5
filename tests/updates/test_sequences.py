"""Learning from windows of a replay with a network that remembers, next to loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

from rljax import updates
from rljax.errors import UsageError
from rljax.networks import Network, QNetwork, scalar, with_target
from rljax.types import MissingField
from rljax.updates import td

KEY = jax.random.key(0)
F, H, A, B = 2, 3, 4, 5
STEPS, LEARNT, REWARDS, GAMMA = 2, 4, 3, 0.9
LENGTH = STEPS + LEARNT + REWARDS - 1


def remembering(remembers: bool = True) -> QNetwork:
    """h' = tanh(x W + h U), and values h' V; with a carry that counts for nothing if not."""

    def init(key):
        keys = jax.random.split(key, 3)
        shapes = {"W": (F, H), "U": (H, H), "V": (H, A)}
        return {n: jax.random.normal(k, s) for (n, s), k in zip(shapes.items(), keys, strict=True)}

    def apply(params, obs, carry, key):
        carry = jnp.tanh(obs @ params["W"] + remembers * (carry @ params["U"]))
        return carry @ params["V"], carry

    net = Network(init, apply, lambda leading: jnp.zeros((*leading, H)))
    return with_target(QNetwork(net, scalar("squared")))


def window(make_batch, ends):
    rng = np.random.default_rng(5)
    shape = (LENGTH, B)
    fields = {
        "obs": rng.normal(size=(*shape, F)),
        "next_obs": rng.normal(size=(*shape, F)),
        "action": rng.integers(A, size=shape),
        "reward": rng.normal(size=shape),
        "terminated": rng.uniform(size=shape) < ends,
        "truncated": rng.uniform(size=shape) < ends,
    }
    fields["truncated"] &= ~fields["terminated"]
    goes_on = ~(fields["terminated"] | fields["truncated"])[:-1]
    fields["next_obs"][:-1][goes_on] = fields["obs"][1:][goes_on]
    carry = rng.normal(size=(B, H))
    floats = {n: jnp.asarray(x, jnp.float32) for n, x in fields.items() if x.dtype == float}
    others = {n: jnp.asarray(x) for n, x in fields.items() if x.dtype != float}
    extras = {"carry": jnp.float32(carry)[None], "row": jnp.arange(LENGTH * B).reshape(shape)}
    return make_batch(*shape, extras=extras, **floats, **others), fields, carry


def parameters(q):
    """Of a network and of a target network that differs."""
    return {"online": q.net.init(KEY)["online"], "target": q.net.init(jax.random.key(1))["online"]}


def learn(q, params, batch, steps=STEPS):
    """The batch as a gradient step of R2D2 leaves it."""
    update = updates.chain(
        updates.burn_in(q, steps),
        updates.next_estimates(q),
        td.n_step(GAMMA, REWARDS, rows=LENGTH - steps - REWARDS + 1),
        td.td_target(q, td.double),
    )
    loss = updates.q_loss(q)

    @jit
    def run(params, batch):
        _, _, after, _ = update.apply(params, update.init(params, KEY), batch, KEY)
        _, found = loss(params, after, KEY)
        return after.annotate(priority=found["priority"])

    return run(params, batch)


def values_by_loop(params, f, carry, b):
    """Values [L, A] of what each step saw, and of what it led to."""
    p, h = jax.tree.map(np.float64, params), carry[b]
    seen, led_to = [], []
    for t in range(LENGTH):
        h = np.tanh(f["obs"][t, b] @ p["W"] + h @ p["U"])
        seen.append(h @ p["V"])
        led_to.append(np.tanh(f["next_obs"][t, b] @ p["W"] + h @ p["U"]) @ p["V"])
        if f["terminated"][t, b] or f["truncated"][t, b]:
            h = np.zeros(H)
    return np.array(seen), np.array(led_to)


@pytest.mark.parametrize("ends", [0.0, 0.2])
@pytest.mark.parametrize("steps", [0, STEPS])
def test_targets_and_errors_are_those_of_a_loop(make_batch, ends, steps):
    q = remembering()
    params, (batch, f, carry) = parameters(q), window(make_batch, ends)
    after = learn(q, params, batch, steps)
    learnt = LENGTH - steps - REWARDS + 1
    assert after.reward.shape == (learnt, B) and after.extras["carry"].shape == (1, B, H)
    np.testing.assert_array_equal(after.extras["row"], batch.extras["row"][steps : steps + learnt])
    for b in range(B):
        seen, now = values_by_loop(params["online"], f, carry, b)
        _, by_target = values_by_loop(params["target"], f, carry, b)
        for t in range(learnt):
            total, factor, row = 0.0, 1.0, steps + t
            for row in range(steps + t, steps + t + REWARDS):
                total, factor = total + factor * f["reward"][row, b], factor * GAMMA
                if f["terminated"][row, b] or f["truncated"][row, b]:
                    break
            after_it = by_target[row, now[row].argmax()] * (not f["terminated"][row, b])
            target = total + factor * after_it
            error = abs(target - seen[steps + t, f["action"][steps + t, b]])
            np.testing.assert_allclose(after.extras["target"][t, b], target, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(after.extras["priority"][t, b], error, rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_a_memory_that_counts_for_nothing_learns_as_a_network_without_one(make_batch):
    q = remembering(remembers=False)
    params, (batch, _, _) = parameters(q), window(make_batch, 0.2)
    got = learn(q, params, batch)

    def without(net):
        def apply(params, obs, carry, key):
            return net.apply(params, obs, jnp.zeros((*obs.shape[:-1], H)), key)[0], carry

        return Network(net.init, apply)

    plain = q._replace(net=without(q.net), target=without(q.target))
    behind = jax.tree.map(lambda x: x[STEPS:], batch.annotate(carry=()))
    update = updates.chain(td.n_step(GAMMA, REWARDS, rows=LEARNT), td.td_target(plain, td.double))
    _, _, after, _ = update.apply(params, update.init(params, KEY), behind, KEY)
    _, found = updates.q_loss(plain)(params, after, KEY)
    np.testing.assert_allclose(got.extras["target"], after.extras["target"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.extras["priority"], found["priority"], rtol=1e-4, atol=1e-4)


def test_gradients_flow_back_through_the_sequence_and_not_into_the_burn_in(make_batch):
    q = remembering()
    params, (batch, _, _) = parameters(q), window(make_batch, 0.0)

    def loss(obs):
        update = updates.chain(updates.burn_in(q, STEPS), updates.next_estimates(q))
        _, _, after, _ = update.apply(params, ((), ()), batch.replace(obs=obs), KEY)
        after = after.annotate(target=jnp.zeros_like(after.reward))
        # That of the last step alone.
        last = jnp.zeros_like(after.reward).at[-1].set(1.0)
        return updates.q_loss(q)(params, after.annotate(weight=last), KEY)[0]

    slopes = jit(jax.grad(loss))(batch.obs)
    assert not slopes[:STEPS].any() and (jnp.abs(slopes[STEPS:]) > 0).all()


def test_a_fresh_carry_is_that_of_an_episode_s_beginning(make_batch):
    q = remembering()
    batch, _, _ = window(make_batch, 0.2)
    _, _, after, _ = updates.fresh_carry(q.net).apply((), (), batch, KEY)
    np.testing.assert_array_equal(after.extras["carry"], np.zeros((1, B, H)))


def test_what_is_missing_is_named_and_counts_fit(make_batch):
    q = remembering()
    batch, _, _ = window(make_batch, 0.0)
    chained = updates.chain(td.n_step(GAMMA), td.td_target(q))
    with pytest.raises(MissingField, match=r"^update td_target reads extras\['next_estimate'\]"):
        chained.apply(parameters(q), chained.init((), KEY), batch, KEY)
    for steps in (-1, 2.0, True):
        with pytest.raises(UsageError, match="burn_in must be a whole number of at least 0"):
            updates.burn_in(q, steps)
    with pytest.raises(UsageError, match=f"burn_in = {LENGTH} is more than .* = {LENGTH - 1}"):
        updates.burn_in(q, LENGTH).apply(parameters(q), (), batch, KEY)
