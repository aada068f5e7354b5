import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import UsageError
from rljax.networks import ActorCritic, Network
from rljax.types import MissingField, Update
from rljax.updates import chain, epochs, gae, stateless

KEY = jax.random.key(0)


def writes(field, amount):
    """An update that counts its calls, moves the parameters and writes a field and a metric."""

    def apply(params, state, batch, key):
        batch = batch.annotate(**{field: batch.reward + amount, "key": key})
        return params * 10 + amount, state + 1, batch, {f"losses/{field}": amount, "last": amount}

    return Update(lambda params, key: jnp.int32(amount * 100), apply)


def needs_bonus():
    def apply(params, batch, key):
        return batch.annotate(doubled=2 * batch.extras["bonus"]), {}

    return stateless(apply)


def test_params_state_batch_and_metrics_go_from_one_update_to_the_next(make_batch):
    update = chain(writes("bonus", 1), writes("other", 2), needs_bonus())
    state = update.init(jnp.int32(0), KEY)
    assert state == (100, 200, ())
    batch = make_batch(3, 2)
    params, state, after, metrics = update.apply(jnp.int32(0), state, batch, KEY)
    assert (params, state) == (12, (101, 201, ()))
    assert metrics == {"losses/bonus": 1, "losses/other": 2, "last": 2}
    np.testing.assert_array_equal(after.extras["doubled"], np.full((3, 2), 2.0))
    assert set(after.extras) == {*batch.extras, "bonus", "other", "doubled", "key"}
    assert set(batch.extras) == {"index"}


def test_each_update_gets_a_key_of_its_own(make_batch):
    def records(name):
        return Update(lambda params, key: key, lambda p, s, b, key: (p, s, b, {name: key}))

    update = chain(records("a"), records("b"))
    state = update.init(None, KEY)
    *_, keys = update.apply(None, state, make_batch(1, 1), KEY)
    seen = [jax.random.key_data(key).tolist() for key in (*state, *keys.values(), KEY)]
    assert seen[0] != seen[1] and seen[2] != seen[3] and seen[4] not in seen[:4]


def value(params, obs, carry):
    return obs.sum(-1), carry


@pytest.mark.parametrize(
    "update, named, field",
    [
        (chain(needs_bonus()), "needs_bonus", "bonus"),
        (chain(writes("other", 1), chain(needs_bonus())), "needs_bonus", "bonus"),
        (chain(gae(value, 0.9, 0.9)), "gae", "carry"),
        (chain(epochs(needs_bonus(), 1, 1)), "needs_bonus", "bonus"),
    ],
)
def test_a_missing_field_is_an_error_that_names_the_update_and_the_field(
    make_batch, update, named, field
):
    batch = make_batch(2, 2)
    with pytest.raises(MissingField) as refusal:
        jax.eval_shape(lambda: update.apply(0, update.init(0, KEY), batch, KEY))
    message = str(refusal.value)
    assert message.startswith(f"update {named} reads extras['{field}']")
    assert message.count("update") == 1 and "index" in message


def test_gae_annotates_values_advantages_and_targets(make_batch):
    # Two steps of one environment, the second truncated: delta = r + 0.5 V' - V.
    batch = make_batch(
        2,
        1,
        obs=jnp.array([[[1.0]], [[2.0]]]),
        next_obs=jnp.array([[[2.0]], [[6.0]]]),
        reward=jnp.array([[1.0], [1.0]]),
        truncated=jnp.array([[False], [True]]),
        extras={"carry": ()},
    )
    update = gae(value, 0.5, 0.5)
    _, _, after, metrics = update.apply(None, (), batch, KEY)
    np.testing.assert_allclose(after.extras["value"], [[1], [2]])
    np.testing.assert_allclose(after.extras["advantage"], [[1.5], [2]])
    np.testing.assert_allclose(after.extras["target"], [[2.5], [4]])
    np.testing.assert_allclose(metrics["losses/explained_variance"], 1 - 0.0625 / 0.5625)


def test_gae_values_the_next_observation_with_the_memory_after_the_step(make_batch):
    def apply(params, obs, carry, key):
        return ((), 10 * carry + obs[..., 0]), carry + 1

    net = Network(lambda key: (), apply, lambda leading: jnp.zeros(leading))
    value = ActorCritic(net, head=None).value
    batch = make_batch(2, 1, reward=jnp.zeros((2, 1)), extras={"carry": jnp.array([[3.0], [4.0]])})
    _, _, after, _ = gae(value, 1.0, 0.0).apply(None, (), batch, KEY)
    np.testing.assert_allclose(after.extras["value"], [[30], [40]])
    np.testing.assert_allclose(after.extras["advantage"], [[10], [10]])


def test_returns_that_do_not_end_with_episodes_are_of_a_memory_that_does(make_batch):
    def apply(params, obs, carry, key):
        return ((), carry + obs[..., 0]), carry + 10

    net = Network(lambda key: (), apply, lambda leading: jnp.zeros(leading))
    ends = jnp.array([[True], [False]])
    carry = jnp.array([[30.0], [0.0]])
    nothing = jnp.zeros((2, 1))
    batch = make_batch(2, 1, reward=nothing, terminated=ends, extras={"carry": carry})
    update = gae(ActorCritic(net, head=None).value, 1.0, 0.0, episodic=False)
    _, _, after, _ = update.apply(None, (), batch, KEY)
    np.testing.assert_allclose(after.extras["value"], [[30], [0]])
    np.testing.assert_allclose(after.extras["advantage"], [[-30], [10]])


def test_advantages_of_a_memory_are_refused_within_epochs(make_batch):
    net = Network(lambda key: (), lambda p, obs, carry, key: (((), carry), carry))
    value = ActorCritic(net._replace(initial_carry=jnp.zeros), head=None).value
    batch = make_batch(2, 1, extras={"carry": jnp.zeros((2, 1))})
    update = epochs(gae(value, 1.0, 0.0), 1, 1, sequence_length=2)
    with pytest.raises(UsageError, match="let the estimator stand before `epochs`"):
        update.apply(None, (), batch, KEY)
