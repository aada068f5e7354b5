"""Models in which one can plan, and who plans in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from states import jit

from rljax import actors, networks
from rljax.envs import probes
from rljax.envs.action_masks import observed
from rljax.networks import latent_model, value_head
from rljax.networks.latent_models import to_unit_interval
from rljax.types import MaskedObs

KEY = jax.random.key(0)
SIZES = {"hidden": (8,), "model_hidden": (8,), "state_size": 6}
HEAD = value_head("c51", v_min=-4.0, v_max=4.0, num_atoms=9, rescale=True)


class Squared(nn.Module):
    @nn.compact
    def __call__(self, x, carry):
        return nn.Dense(5)(jnp.square(x)), carry


PAIR = (
    lambda key: jax.random.normal(key, (4, 7)),
    lambda params, x, carry, key: (x @ params, carry),
)


@pytest.mark.parametrize(("kind", "size"), [("auto", 6), (Squared(), 5), (PAIR, 7)])
def test_states_lie_between_0_and_1_and_models_know_nothing_at_first(cartpole, kind, size):
    model = latent_model(cartpole, kind, **SIZES, head=HEAD)
    params = model.init(KEY)
    assert set(params) == {"representation", "dynamics", "prediction"}
    obs = jax.random.normal(KEY, (2, 3, 4))
    state = model.represent(params, obs)
    after, reward = model.imagine(params, state, jnp.ones((2, 3), jnp.int32))
    logits, value = model.predict(params, after)
    for x in (state, after):
        assert x.shape == (2, 3, size)
        np.testing.assert_allclose((x.min(-1), x.max(-1)), [np.zeros((2, 3)), np.ones((2, 3))])
    assert logits.shape == (2, 3, 2) and reward.shape == value.shape == (2, 3, 9)
    np.testing.assert_allclose(model.head.q(value), 0.0, atol=0.1)
    np.testing.assert_allclose(jax.nn.softmax(logits), 0.5, atol=0.05)
    np.testing.assert_allclose(
        model.value(params, obs), model.head.q(model.predict(params, state)[1]), rtol=1e-6
    )


def test_a_state_of_equal_numbers_is_zero():
    np.testing.assert_array_equal(to_unit_interval(jnp.full((2, 3), 7.0)), 0.0)


def test_what_follows_depends_on_the_action(cartpole):
    model = latent_model(cartpole, **SIZES, head=HEAD)
    params = model.init(KEY)
    state = model.represent(params, jnp.ones((2, 4)))
    after, reward = model.imagine(params, state, jnp.array([0, 1]))
    assert np.abs(after[0] - after[1]).max() > 0.01 and np.abs(reward[0] - reward[1]).max() > 0


A = 3
PAYS = 1  # the action that pays, in the model


def paying_model() -> networks.LatentModel:
    """One state, and a reward of 1 for one action."""
    head = value_head("scalar")

    def predict(params, state):
        return jnp.zeros((*state.shape[:-1], A)), jnp.zeros(state.shape[:-1])

    return networks.LatentModel(
        init=lambda key: (),
        represent=lambda params, obs: observed(obs),
        imagine=lambda params, state, action: (state, jnp.float32(action == PAYS)),
        predict=predict,
        head=head,
        encode=lambda obs: obs,
    )


@pytest.mark.parametrize("kind", ["puct", "gumbel"])
def test_who_searches_takes_what_the_model_pays_for_unless_it_is_illegal(kind):
    model = paying_model()
    actor = actors.searching_actor(model, actors.latent_search(model, kind, 24))
    hparams = actors.LatentSearchHparams(gamma=0.5, temperature=1e-3, temperature_end=1e-3)
    obs = jnp.zeros((4, 2))
    legal = jnp.ones((4, A), bool).at[2:, PAYS].set(False)
    act = jit(lambda obs, key: actor.policy(hparams, jnp.float32(0))((), obs, (), key))
    action, found, _ = act(MaskedObs(obs, legal), KEY)
    best, _ = jit(lambda obs: actor.mode(hparams)((), obs, ()))(MaskedObs(obs, legal))
    np.testing.assert_array_equal(best[:2], PAYS)
    assert (np.asarray(best)[2:] != PAYS).all() and (np.asarray(action)[2:] != PAYS).all()
    assert (found["search_policy"].argmax(-1)[:2] == PAYS).all()
    np.testing.assert_allclose(found["search_policy"].sum(-1), 1.0, rtol=1e-5)
    assert (np.asarray(found["search_policy"])[2:, PAYS] == 0).all()
    # With gamma 0.5 the best that can be paid is 2, and what is illegal at the root costs a step.
    find = jit(lambda obs, key: actors.latent_search(model, kind, 24)(hparams, (), obs, key).value)
    value = np.asarray(find(MaskedObs(obs, legal), KEY))
    assert (value[:2] > 0.5).all() and (value < 2.0).all() and (value[2:] < value[:2]).all()


def test_the_temperature_of_visits_falls_to_its_end():
    seen = []

    def find(hparams, params, obs, key, best=False):
        seen.append(float(hparams.temperature))
        return actors.Found(jnp.zeros(1, jnp.int32), jnp.ones((1, A)), jnp.zeros(1))

    actor = actors.searching_actor(paying_model(), find)
    hparams = actors.LatentSearchHparams(temperature=1.0, temperature_end=0.5)
    for progress in (0.0, 0.5, 1.0):
        actor.policy(hparams, jnp.float32(progress))((), jnp.zeros((1, 2)), (), KEY)
    np.testing.assert_allclose(seen, [1.0, 0.75, 0.5])


@pytest.mark.long
def test_random_actions_are_recorded_as_a_uniform_policy():
    env = probes.LegalActions()
    legal = jnp.array([[True, True, False, True], [False, True, False, False]])
    states, obs = jax.vmap(env.reset)(jax.random.split(KEY, 2))
    policy = actors.random_searcher(env.action_space)
    action, found, _ = policy((), MaskedObs(obs, legal), (), KEY)
    assert jnp.take_along_axis(legal, action[:, None], 1).all()
    np.testing.assert_allclose(found["search_policy"], legal / legal.sum(-1, keepdims=True))
