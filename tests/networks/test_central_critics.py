"""Policies and critics of several agents, next to networks worked out by hand in float64."""

from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import jit
from still import Still

from rljax.envs.spaces import Box, Discrete
from rljax.errors import UsageError
from rljax.networks import actor_and_critics, scalar
from rljax.updates import actor_loss, critic_target

KEY = jax.random.key(0)
T, N, M, F, A, E = 2, 3, 3, 4, 2, 2
ARM = Box(np.array([-1.0, 0.0]), np.array([3.0, 0.5]), (A,))
GROUPS = {"own": (0, 1, 2), "teams": (0, 1, 1), "shared": (0, 0, 0)}


class Several(Still):
    """Still, of three agents."""

    agents = ("a", "b", "c")
    teams = ((0,), (1, 2))
    shared_reward = False


def build(parameters="own", actions=ARM, observations=None, central=True, **options):
    observations = observations or Box(-np.inf, np.inf, (F,))
    options = {"hidden": (5,), "num_critics": E, "targets": ("actor", "critic"), **options}
    return actor_and_critics(
        Several(observations, actions),
        value=scalar(),
        stochastic=False,
        relaxation="straight_through",
        groups=GROUPS[parameters],
        central=central,
        **options,
    )


def normal(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def dense(params, x):
    return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def by_hand(params, x, head: str):
    """A torso of one layer and what stands on it."""
    hidden = np.maximum(dense(params["MLP_0"]["Dense_0"], np.asarray(x, np.float64)), 0)
    return dense(params[head]["Dense_0"], hidden)


def of_agent(params: Any, parameters: str, place: int):
    """The parameters of one agent out of those of all, [G, ...] where there are several."""
    group = GROUPS[parameters][place]
    own = params if parameters == "shared" else jax.tree.map(lambda x: x[group], params)
    return own["params"]


def scaled(action):
    return (np.asarray(action) - np.array([1.0, 0.25])) / np.array([2.0, 0.25])


LONGER = ("own", pytest.param("teams", marks=pytest.mark.long), "shared")


@pytest.mark.parametrize("parameters", LONGER)
def test_each_critic_reads_what_all_observe_and_do(parameters):
    ac, obs, action = build(parameters), normal(T, N, M, F), normal(T, N, M, A)

    @jit
    def run(key):
        params = ac.init(key)
        others = ac.estimate(params, obs, action, others=action + 1.0)
        return params, ac.estimate(params, obs, action), others

    params, alone, with_others = run(KEY)
    assert alone.shape == with_others.shape == (E, T, N, M, 1)
    for place, (estimate, others) in product(range(M), ((alone, 0.0), (with_others, 1.0))):
        acts = scaled(action + others)
        acts[..., place, :] = scaled(action)[..., place, :]
        places = np.broadcast_to(np.eye(M)[place], (T, N, M))
        places = places[..., :0] if parameters == "own" else places
        x = np.concatenate([obs.reshape(T, N, -1), places, acts.reshape(T, N, -1)], -1)
        for e in range(E):
            critic = jax.tree.map(lambda leaf, e=e: np.asarray(leaf)[e], params["critic"])
            expected = by_hand(of_agent(critic, parameters, place), x, "ActionValues_0")
            np.testing.assert_allclose(estimate[e, :, :, place], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parameters", LONGER)
def test_each_policy_and_each_critic_that_is_not_central_reads_its_own_agent(parameters):
    ac = build(parameters, central=False)
    obs, action = normal(T, N, M, F), normal(T, N, M, A)

    @jit
    def run(key):
        params = ac.init(key)
        found = ac.estimate(params, obs, action, others=action + 1.0)
        return params, found, ac.choices(params, obs, key).action

    params, found, chosen = run(KEY)
    for place in range(M):
        critic = jax.tree.map(lambda leaf: np.asarray(leaf)[1], params["critic"])
        x = np.concatenate([obs, scaled(action)], -1)[..., place, :]
        expected = by_hand(of_agent(critic, parameters, place), x, "ActionValues_0")
        np.testing.assert_allclose(found[1, :, :, place], expected, rtol=1e-4, atol=1e-5)
        actor = of_agent(params["actor"], parameters, place)
        raw = np.tanh(by_hand(actor, obs[..., place, :], "Outputs_0"))
        np.testing.assert_allclose(scaled(chosen)[..., place, :], raw, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_each_policy_follows_its_own_critic_with_the_actions_that_others_took(make_batch):
    """Equation 5: agent by agent, the same gradient as from a loss written for that one alone."""
    ac, obs, action = build(), normal(T, N, M, F), normal(T, N, M, A)
    batch = make_batch(T, N, obs=obs, action=action)

    def of_all(actor, params):
        return actor_loss(ac)({**params, "actor": actor}, batch, KEY)[0]

    def of_one(actor, params, place):
        chosen = ac.choices({**params, "actor": actor}, obs, KEY).action
        joint = action.at[:, :, place].set(chosen[:, :, place])
        return -jnp.mean(ac.estimate(params, obs, joint)[:, :, :, place])

    @jit
    def gradients(key):
        params = ac.init(key)
        of_each = jax.vmap(jax.grad(of_one), (None, None, 0))
        alone = of_each(params["actor"], params, jnp.arange(M))
        return jax.grad(of_all)(params["actor"], params), alone

    together, alone = gradients(KEY)
    for place in range(M):
        for found, expected in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
            np.testing.assert_allclose(M * found[place], expected[place, place], 1e-4, 1e-6)
            assert np.abs(found).max() > 1e-4


def test_targets_are_rewards_of_each_agent_and_what_all_do_next(make_batch):
    """Equation 6."""
    ac, obs, reward = build(), normal(T, N, M, F), normal(T, N, M)
    batch = make_batch(T, N, next_obs=obs, reward=reward)
    batch = batch.annotate(discount=jnp.full((T, N, M), 0.9))
    update = critic_target(ac, partial(ac.choices, part="target_actor"))

    @jit
    def run(key):
        params = ac.init(key)
        params["target_actor"] = ac.init(jax.random.key(1))["actor"]
        params["target_critic"] = ac.init(jax.random.key(2))["critic"]
        following = ac.choices(params, obs, key, "target_actor").action
        after = ac.estimate(params, obs, following, "target_critic").min(axis=0)[..., 0]
        return update.apply(params, (), batch, key)[2].extras["target"], reward + 0.9 * after

    found, expected = run(KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_discrete_actions_are_chosen_as_numbers_and_read_as_vectors():
    ac, obs = build(actions=Discrete(A)), normal(T, N, M, F)

    @jit
    def run(key):
        params = ac.init(key)
        chosen = ac.choices(params, obs, key).action
        numbers = jnp.argmax(chosen, axis=-1)
        read = ac.estimate(params, obs, numbers), ac.estimate(params, obs, chosen)
        acted = ac.policy(params, obs[0], (), key)[0], ac.mode(params, obs[0], ())[0]
        return chosen, read, acted, ac.distribution(params, obs[0]).logits

    chosen, read, (acted, best), logits = run(KEY)
    assert chosen.shape == (T, N, M, A) and set(np.unique(chosen)) == {0.0, 1.0}
    np.testing.assert_array_equal(*read)
    assert acted.shape == (N, M) and acted.dtype == best.dtype == jnp.int32
    assert set(np.unique(acted)) == {0, 1}
    np.testing.assert_array_equal(best, np.argmax(logits, axis=-1))


def test_a_convolution_cannot_read_what_all_agents_observe():
    picture = Box(0, 255, (5, 5, 1), np.uint8)
    with pytest.raises(UsageError) as error:
        build(observations=picture, agent="maddpg")
    assert "give it critic_network 'mlp', not 'cnn'" in str(error.value)
    flat = build(observations=picture, critic_kind="mlp")
    obs = jnp.zeros((T, N, M, 5, 5, 1))
    found = jax.eval_shape(lambda: flat.estimate(flat.init(KEY), obs, normal(T, N, M, A)))
    assert found.shape == (E, T, N, M, 1)
