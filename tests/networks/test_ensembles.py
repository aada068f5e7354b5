"""Ensembles of models learn what a step leads to: its mean, its variance, and whether it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from states import jit
from still import Still

from rljax.envs import probes, spaces
from rljax.errors import UsageError
from rljax.networks import ensemble_model
from rljax.networks.ensembles import softly_bounded
from rljax.types import Extras, Transition
from rljax.updates import chain, gradient, model_loss, model_statistics

KEY = jax.random.key(0)
E, B = 4, 256
NUMBERS = spaces.Box(-8.0, 8.0, (2,))
ARM = Still(NUMBERS, spaces.Box(-2.0, 2.0, (1,)))
SIZES = {"num_members": E, "hidden": (32,)}
DEVIATION = np.array([0.05, 0.4, 2.0])
"""Of the noise of a linear system, in the changes of its two numbers and in the reward."""


def linear(obs, action):
    """The mean changes and rewards [..., 3] of a linear system."""
    matrix = jnp.array([[0.5, -0.2, 3.0], [0.1, 0.3, -2.0], [0.2, -0.4, 5.0]])
    return jnp.concatenate([obs, action], -1) @ matrix + jnp.array([0.1, 0.0, 7.0])


@pytest.fixture(scope="module")
def learnt():
    """A model of the linear system, which ends where its first number is above 1; its parameters,
    and the losses on the way."""
    model = ensemble_model(ARM, **SIZES)
    fit = chain(
        model_statistics(model), gradient(model_loss(model), optax.adam(5e-3), part="model")
    )

    def step(loop, key):
        params, state = loop
        keys = jax.random.split(key, 4)
        obs = jax.random.uniform(keys[0], (1, B, 2), minval=-2, maxval=2)
        action = jax.random.uniform(keys[1], (1, B, 1), minval=-2, maxval=2)
        outcome = linear(obs, action) + DEVIATION * jax.random.normal(keys[2], (1, B, 3))
        ends = obs[..., 0] > 1
        next_obs = obs + outcome[..., :2]
        batch = Transition(obs, action, outcome[..., 2], ends, ~ends, next_obs, Extras())
        params, state, _, metrics = fit.apply(params, state, batch, keys[3])
        return (params, state), metrics["losses/model_loss"]

    params = {"model": model.init(KEY)}
    run = jax.jit(lambda *loop: jax.lax.scan(step, loop, jax.random.split(KEY, 1500)))
    (params, _), losses = run(params, fit.init(params, KEY))
    return model, params["model"], losses


def points(size: int = 64):
    obs, action = (jax.random.uniform(KEY, (size, n), minval=-1.5, maxval=1.5) for n in (2, 1))
    return obs, action


def test_a_linear_system_is_learnt_with_the_variance_of_its_noise(learnt):
    model, params, losses = learnt
    assert losses[-50:].mean() < losses[:50].mean()
    obs, action = points(2000)
    reward, _, next_obs = jit(model.imagine)(params, obs, action, KEY)
    outcome = np.concatenate([next_obs - obs, reward[:, None]], axis=1)
    error = outcome - np.asarray(linear(obs, action))
    np.testing.assert_allclose(error.mean(0) / DEVIATION, 0.0, atol=0.2)
    np.testing.assert_allclose(error.std(0) / DEVIATION, 1.0, atol=0.15)


def test_where_the_task_ends_is_learnt(learnt):
    model, params, _ = learnt
    obs, action = points()
    _, ends, _ = jit(model.imagine)(params, obs, action, KEY)
    clear = np.abs(obs[:, 0] - 1) > 0.2
    np.testing.assert_array_equal(ends[clear], obs[clear, 0] > 1)
    assert ends.any() and not ends.all()


def test_members_agree_where_they_have_learnt_and_differ_elsewhere(learnt):
    model, params, _ = learnt
    obs, action = points()

    @jit
    def disagreement(params, scale):
        return jnp.mean(jnp.std(model.predict(params, scale * obs, action).mean, axis=0))

    assert disagreement(params, 1.0) < 0.15
    assert disagreement(params, 5.0) > 3 * disagreement(params, 1.0)
    assert disagreement(jit(model.init)(KEY), 1.0) > 2 * disagreement(params, 1.0)


def test_a_step_is_that_of_one_member_and_all_are_asked():
    model = ensemble_model(ARM, **SIZES)
    params = jit(model.init)(KEY)
    params["bounds"] = {"least": jnp.full(3, -60.0), "most": jnp.full(3, -50.0)}  # no noise
    obs, action = points()
    reward, _, next_obs = jit(model.imagine)(params, obs, action, KEY)
    told = jit(model.predict)(params, obs, action).mean
    distance = np.abs(np.asarray(told[..., -1]) - np.asarray(reward))  # [E, N]
    asked = distance.argmin(0)
    np.testing.assert_allclose(distance.min(0), 0.0, atol=1e-4)
    assert set(asked) == set(range(E))
    change = np.asarray(told)[asked, np.arange(len(obs)), :2]
    np.testing.assert_allclose(next_obs, np.clip(obs + change, -8, 8), atol=1e-4)


def test_imagined_observations_stay_within_their_space_and_variances_within_bounds():
    model = ensemble_model(ARM, **SIZES)
    params = jit(model.init)(KEY)
    obs = jnp.full((32, 2), 7.9)
    _, _, next_obs = jit(model.imagine)(params, obs, jnp.zeros((32, 1)), KEY)
    assert (np.abs(next_obs) <= 8).all() and (np.asarray(next_obs) == 8).any()
    bounded = softly_bounded(jnp.array([[-1e3, 0.0], [1e3, -4.0]]), -jnp.full(2, 10.0), 0.5)
    np.testing.assert_allclose(bounded[:, 0], [-10, 0.5], atol=1e-3)
    np.testing.assert_allclose(bounded[1, 1], -4.0, atol=0.02)


def test_discrete_actions_are_read_one_hot():
    model = ensemble_model(Still(NUMBERS, spaces.Discrete(3)), **SIZES)
    params = jit(model.init)(KEY)
    told = jit(model.predict)(params, jnp.zeros((3, 2)), jnp.arange(3)).mean
    assert told.shape == (E, 3, 3)
    assert not np.allclose(told[:, 0], told[:, 1]) and not np.allclose(told[:, 1], told[:, 2])


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (Still(spaces.Box(-1.0, 1.0, (2, 2))), "mbpo imagines observations that are a Box of one"),
        (Still(spaces.Discrete(3)), "not Discrete(3): use sac"),
        (Still(spaces.Box(0, 9, (2,), np.int32)), "of float32, not Box(2,) int32"),
        (probes.LegalActions(), "mbpo cannot imagine which actions are legal"),
        (probes.Signals(), "mbpo"),
    ],
)
def test_what_cannot_be_imagined_is_refused_in_one_sentence(env, said):
    with pytest.raises(UsageError) as error:
        ensemble_model(env, agent="mbpo")
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_members": 0}, "num_models must be a whole number of at least 1, not 0"),
        ({"hidden": (8, 0)}, "hidden must be"),
        ({"activation": "swish"}, "activation 'swish' is not known"),
    ],
)
def test_sizes_are_checked(options, said):
    with pytest.raises(UsageError, match=said):
        ensemble_model(ARM, **options)
