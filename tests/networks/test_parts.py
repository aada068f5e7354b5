"""Observations that are a Dict: which network reads which of its parts."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from still import Still

import rljax
from rljax.envs.spaces import Box, Dict, Discrete
from rljax.errors import UsageError
from rljax.networks import actor_and_critics, actor_critic, scalar
from rljax.networks.encoding import read
from rljax.updates import observation_statistics

KEY = jax.random.key(0)
ROBOT, SIMULATOR, ARM = Box(-9, 9, (2,)), Box(-9, 9, (3,)), Box(-1, 1, (1,))
SPACE = Dict({"state": ROBOT, "privileged": SIMULATOR, "mode": Discrete(2)})
OBS = {
    "state": jnp.array([[[1.0, -2.0]]]),
    "privileged": jnp.array([[[3.0, 0.5, 1.0]]]),
    "mode": jnp.ones((1, 1), jnp.int32),
}
OTHER = {**OBS, "privileged": OBS["privileged"] + 1.0}
ASYMMETRIC: dict[str, Any] = {"actor_obs": ["state", "mode"], "critic_obs": ["privileged"]}


def of_ppo(space=SPACE, **options):
    """Parameters, policy outputs and values, as functions of parameters and observations."""
    ac = actor_critic(Still(space, ARM), hidden=(5,), **options)
    both = lambda params, obs: ac.net.apply(params, obs, (), None)[0]  # noqa: E731
    return ac.net.init(KEY), lambda p, o: both(p, o)[0], lambda p, o: both(p, o)[1], ac.net.encode


def of_sac(space=SPACE, **options):
    """The same, of a policy and critics."""
    ac = actor_and_critics(Still(space, ARM), hidden=(5,), value=scalar(), **options)
    action = jnp.zeros((1, 1, 1))
    policy = lambda params, obs: ac._outputs(params, obs, "actor")  # noqa: E731
    return ac.init(KEY), policy, lambda p, o: ac.estimate(p, o, action), ac.encode


BUILDERS = pytest.mark.parametrize("build", [of_ppo, of_sac])


@BUILDERS
@pytest.mark.parametrize("normalize", [False, True])
def test_each_network_reads_its_own_parts_and_no_others(build, normalize):
    params, policy, value, _ = build(normalize_observations=normalize, **ASYMMETRIC)
    np.testing.assert_array_equal(policy(params, OTHER), policy(params, OBS))
    assert not np.allclose(value(params, OTHER), value(params, OBS))
    moved = {**OBS, "state": OBS["state"] + 1.0}
    assert not np.allclose(policy(params, moved), policy(params, OBS))
    np.testing.assert_array_equal(value(params, moved), value(params, OBS))


def test_a_policy_needs_no_parts_but_its_own_to_act():
    params, policy, _, _ = of_sac(normalize_observations=True, **ASYMMETRIC)
    seen = {name: OBS[name] for name in ("state", "mode")}
    np.testing.assert_array_equal(policy(params, seen), policy(params, OBS))


@BUILDERS
def test_without_a_choice_all_parts_are_joined_in_the_order_of_their_names(build):
    params, policy, value, _ = build()
    flat = Box(-9, 9, (7,))
    joined = jnp.array([[[0.0, 1.0, 3.0, 0.5, 1.0, 1.0, -2.0]]])
    _, same_policy, same_value, _ = build(flat)
    np.testing.assert_allclose(policy(params, OBS), same_policy(params, joined), rtol=1e-6)
    np.testing.assert_allclose(value(params, OBS), same_value(params, joined), rtol=1e-6)


@BUILDERS
def test_every_part_is_normalised_by_statistics_of_its_own(build, make_batch):
    params, policy, _, encode = build(normalize_observations=True, **ASYMMETRIC)
    obs = {"state": jax.random.normal(KEY, (2, 3, 2)), "privileged": jnp.ones((2, 3, 3))}
    obs["mode"] = jnp.zeros((2, 3), jnp.int32)
    update = observation_statistics(encode)
    moved, *_ = update.apply(params, (), make_batch(2, 3, obs=obs), KEY)
    expected = np.asarray(obs["state"], np.float64)
    found = moved["statistics"]["state"]
    np.testing.assert_allclose(found.mean, expected.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found.variance, expected.var((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(moved["statistics"]["privileged"].mean, np.ones(3))
    assert not np.allclose(policy(moved, OBS), policy(params, OBS))


@pytest.mark.long
def test_one_part_is_read_in_its_own_shape():
    space = Dict({"eye": Box(0, 255, (3, 3, 1), np.uint8), "truth": ROBOT})
    obs = {"eye": jnp.full((1, 1, 3, 3, 1), 51, jnp.uint8), "truth": jnp.ones((1, 1, 2))}
    for build in (of_ppo, of_sac):
        params, policy, value, _ = build(space, actor_obs=["eye"], critic_obs=["truth"])
        assert policy(params, obs).shape[:2] == (1, 1) and value(params, obs).size == 1
        assert "CNN_0" in str(jax.tree.structure(params))
    seen = read(space, "auto", (5,), "relu", "me", names=["eye"])
    np.testing.assert_allclose(seen.view(seen.encode(obs)), np.full((1, 1, 3, 3, 1), 0.2))


@pytest.mark.long
def test_a_critic_may_be_larger_than_its_policy():
    for params in (of_ppo(critic_hidden=(7, 6))[0], of_sac(critic_hidden=(7, 6))[0]):
        sizes = {x.shape[-1] for x in jax.tree.leaves(params) if x.ndim > 1}
        assert {5, 6, 7} <= sizes


PPO = partial(rljax.ppo, Still(SPACE, ARM))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PPO(actor_obs=["stat"]), "^actor_obs 'stat' is not known; did you mean 'state'"),
        (lambda: PPO(critic_obs=["privilege"]), "^critic_obs .* did you mean 'privileged'"),
        (lambda: PPO(actor_obs=[]), "^actor_obs of ppo is empty: name one of state, privileged"),
        (
            lambda: rljax.sac(Still(ROBOT, ARM), critic_obs=["state"]),
            r"^sac observes Box\(2,\) .* has no parts to choose from: leave out critic_obs$",
        ),
        (
            lambda: PPO(network="gru", actor_obs=["state"]),
            "^network 'gru' is one for policy and value of ppo: leave out critic_hidden",
        ),
        (
            lambda: PPO(network=(lambda key: (), lambda *_: None), critic_hidden=(3,)),
            "^a network of its own is one for policy and value of ppo",
        ),
        (lambda: PPO(network="cnn"), "^network 'cnn' needs .* not Dict.*; use 'mlp'$"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(make, message):
    with pytest.raises(UsageError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 250
