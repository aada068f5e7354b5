"""What a model that is searched learns from and how, next to loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit

from rljax import updates
from rljax.errors import UsageError
from rljax.networks import LatentModel, categorical, scalar
from rljax.types import MissingField
from rljax.updates.unrolling import ended_before, half_gradient

KEY = jax.random.key(0)
F, S, A, B = 2, 3, 4, 6
K, STEPS, GAMMA = 3, 2, 0.9
LENGTH = K + STEPS
VALUE_COEF, REWARD_COEF = 0.3, 0.7
ENDS = [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.2, 0.2)]


def linear_model(head=None) -> LatentModel:
    """A model of linear layers, with tanh between its states."""
    head = scalar("squared") if head is None else head
    shapes = {"R": (F, S), "D": (S + A, S), "W": (S + A, *head.shape), "P": (S, A)}
    shapes["V"] = (S, *head.shape)

    def init(key):
        keys = jax.random.split(key, len(shapes))
        return {n: jax.random.normal(k, s) for (n, s), k in zip(shapes.items(), keys, strict=True)}

    def imagine(params, state, action):
        x = jnp.concatenate([state, jax.nn.one_hot(action, A)], axis=-1)
        return jnp.tanh(x @ params["D"]), x @ params["W"]

    return LatentModel(
        init,
        lambda params, obs: jnp.tanh(obs @ params["R"]),
        imagine,
        lambda params, state: (state @ params["P"], state @ params["V"]),
        head,
        lambda obs: obs,
    )


MODEL = linear_model()
PARAMS = MODEL.init(KEY)


def windows(make_batch, p_terminated=0.2, p_truncated=0.2):
    """A random sample [LENGTH, B], and its fields as NumPy arrays."""
    rng = np.random.default_rng(3)
    shape = (LENGTH, B)
    fields = {
        "obs": rng.normal(size=(*shape, F)),
        "next_obs": rng.normal(size=(*shape, F)),
        "action": rng.integers(A, size=shape),
        "reward": rng.normal(size=shape),
        "terminated": rng.uniform(size=shape) < p_terminated,
        "truncated": rng.uniform(size=shape) < p_truncated,
    }
    fields["truncated"] &= ~fields["terminated"]
    extras = {
        "search_policy": rng.dirichlet(np.ones(A), size=shape),
        "weight": np.broadcast_to(rng.uniform(0.5, 1.0, size=B), shape),
    }
    floats = {n: jnp.asarray(x, jnp.float32) for n, x in fields.items() if x.dtype == float}
    others = {n: jnp.asarray(x) for n, x in fields.items() if x.dtype != float}
    in_batch = {n: jnp.asarray(x, jnp.float32) for n, x in extras.items()}
    return make_batch(*shape, extras=in_batch, **floats, **others), {**fields, **extras}


def value_of(obs):
    return np.tanh(obs @ np.float64(PARAMS["R"])) @ np.float64(PARAMS["V"])


def targets(fields) -> np.ndarray:
    """z of each of the first 1 + K steps, by following its episode."""
    found = np.zeros((1 + K, B))
    for b in range(B):
        for first in range(1 + K):
            for i in range(STEPS):
                row = first + i
                found[first, b] += GAMMA**i * fields["reward"][row, b]
                if fields["terminated"][row, b]:
                    break
                if fields["truncated"][row, b] or i == STEPS - 1:
                    found[first, b] += GAMMA ** (i + 1) * value_of(fields["next_obs"][row, b])
                    break
    return found


def annotated(batch):
    update = updates.search_target(MODEL, GAMMA, STEPS, K)
    return update.apply(PARAMS, (), batch, KEY)[2]


@pytest.mark.parametrize("ends", ENDS)
def test_targets_are_rewards_and_the_present_value_behind_them(make_batch, ends):
    batch, fields = windows(make_batch, *ends)
    found = jit(annotated)(batch)
    assert found.reward.shape == found.extras["search_policy"].shape[:2] == (1 + K, B)
    np.testing.assert_allclose(found.extras["target"], targets(fields), rtol=1e-4, atol=1e-5)


def losses(fields, target) -> tuple[float, np.ndarray]:
    """The loss of a sample and the first errors of values, window by window."""
    params = {n: np.float64(x) for n, x in PARAMS.items()}
    total, first = 0.0, np.zeros(B)
    for b in range(B):
        state, over, cut, of_window = np.tanh(fields["obs"][0, b] @ params["R"]), False, False, 0.0
        for k in range(1 + K):
            share = 1.0 if k == 0 else 1.0 / K
            if not cut:
                error = (0.0 if over else target[k, b]) - state @ params["V"]
                of_window += share * VALUE_COEF * 0.5 * error**2
                first[b] = abs(error) if k == 0 else first[b]
            if not over:
                logits = state @ params["P"]
                log_policy = logits - np.log(np.exp(logits).sum())
                of_window -= share * fields["search_policy"][k, b] @ log_policy
            if k == K:
                break
            x = np.concatenate([state, np.eye(A)[fields["action"][k, b]]])
            if not cut:
                reward = 0.0 if over else fields["reward"][k, b]
                of_window += REWARD_COEF / K * 0.5 * (reward - x @ params["W"]) ** 2
            state = np.tanh(x @ params["D"])
            cut |= bool(fields["truncated"][k, b]) and not over
            over |= bool(fields["terminated"][k, b] | fields["truncated"][k, b])
        total += fields["weight"][0, b] * of_window / B
    return total, first


@pytest.mark.parametrize("ends", ENDS)
def test_the_loss_is_that_of_a_loop_over_imagined_steps(make_batch, ends):
    batch, fields = windows(make_batch, *ends)
    loss = updates.unrolled_loss(MODEL, VALUE_COEF, REWARD_COEF)
    found, metrics = jit(lambda batch: loss(PARAMS, annotated(batch), KEY))(batch)
    expected, first = losses(fields, targets(fields))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["priority"], first[None], rtol=1e-3, atol=1e-5)


def test_ends_within_a_window_are_those_of_its_first_episode(make_batch):
    batch, fields = windows(make_batch, 0.3, 0.3)
    over, cut = ended_before(batch)
    for b in range(B):
        ends = np.flatnonzero(fields["terminated"][:, b] | fields["truncated"][:, b])
        end = ends[0] if len(ends) else LENGTH
        behind = np.arange(LENGTH) > end
        np.testing.assert_array_equal(over[:, b], behind)
        was_cut = end < LENGTH and fields["truncated"][end, b]
        np.testing.assert_array_equal(cut[:, b], behind & was_cut)
    assert cut.any() and (over & ~cut).any()


def test_each_imagined_step_passes_half_the_gradient(make_batch):
    np.testing.assert_allclose(jax.grad(half_gradient)(3.0), 0.5)
    assert half_gradient(3.0) == 3.0
    # At the start of the dynamics: the predictions of a state pass all of theirs to what made it.
    batch, _ = windows(make_batch, 0.0, 0.0)
    nothing = jnp.zeros((LENGTH, B, A))
    batch = annotated(batch.annotate(search_policy=nothing, weight=jnp.ones((LENGTH, B))))
    loss = updates.unrolled_loss(MODEL, VALUE_COEF, 1.0)
    target = batch.extras["target"]

    def plain(params, halves):
        state = MODEL.represent(params, batch.obs[0])
        total = VALUE_COEF * jnp.mean(
            0.5 * jnp.square(target[0] - MODEL.value(params, batch.obs[0]))
        )
        for k in range(K):
            state = halves * state + (1 - halves) * jax.lax.stop_gradient(state)
            state, reward = MODEL.imagine(params, state, batch.action[k])
            _, value = MODEL.predict(params, state)
            total += jnp.mean(0.5 * jnp.square(batch.reward[k] - reward)) / K
            total += VALUE_COEF * jnp.mean(0.5 * jnp.square(target[k + 1] - value)) / K
        return total

    found = jit(jax.grad(lambda p: loss(p, batch, KEY)[0]))(PARAMS)
    expected, whole = (jax.jit(jax.grad(plain))(PARAMS, halves) for halves in (0.5, 1.0))
    for name in "RD":
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
        assert np.abs(found[name] - whole[name]).max() > 1e-4


@pytest.mark.long
def test_probabilities_of_returns_are_learnt_as_their_numbers(make_batch):
    head = categorical(-4.0, 4.0, 9, rescale=True)
    model = linear_model(head)
    params = jax.tree.map(lambda x: 0.1 * x, model.init(KEY))
    batch, _ = windows(make_batch)
    # One window's numbers can be learnt by heart.
    batch = jax.tree.map(lambda x: x[:, :1], batch)
    optimizer = updates.clipped_adam(0.03, 1e3)
    update = updates.chain(
        updates.search_target(model, 0.0, STEPS, K),
        updates.gradient(updates.unrolled_loss(model, 1.0, 1.0), optimizer),
    )

    def learn(loop, _):
        params, state, after, metrics = update.apply(*loop, batch, KEY)
        return (params, state), (after.extras["target"], metrics["losses/values"])

    begin = params, update.init(params, KEY)
    (params, _), (target, values) = jit(lambda loop: jax.lax.scan(learn, loop, length=600))(begin)
    np.testing.assert_allclose(values[-1], target[-1, 0, 0], atol=0.05)


def test_a_sample_is_searched_anew_with_the_present_parameters(make_batch):
    batch, _ = windows(make_batch)

    def search(params, obs, carry, key):
        found = {"search_policy": obs[:, :1] * params, "other": obs}
        return obs[:, 0], found, carry

    after = updates.reanalyse(search).apply(2.0, (), batch, KEY)[2]
    np.testing.assert_allclose(after.extras["search_policy"], 2.0 * batch.obs[..., :1])
    assert "other" not in after.extras


def test_what_does_not_fit_is_one_sentence(make_batch):
    batch, _ = windows(make_batch)
    with pytest.raises(UsageError, match="n_step must be a whole number of at least 1, not 0"):
        updates.search_target(MODEL, GAMMA, 0, K)
    with pytest.raises(UsageError, match=r"unroll_steps \+ n_step = 9 is more than the steps of a"):
        updates.search_target(MODEL, GAMMA, 6, 3).apply(PARAMS, (), batch, KEY)
    bare = annotated(batch.replace(extras=type(batch.extras)()))
    with pytest.raises(MissingField, match=r"extras\['search_policy'\]"):
        updates.unrolled_loss(MODEL, VALUE_COEF, REWARD_COEF)(PARAMS, bare, KEY)
