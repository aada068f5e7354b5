"""Policies and critics of several agents, next to networks worked out by hand in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
    """The parameters of one agent out of those of all, [E, G, ...] or [G, ...] where G > 1."""
    group = GROUPS[parameters][place]
    return params if parameters == "shared" else jax.tree.map(lambda x: x[group], params)


def scaled(action):
    return (np.asarray(action) - np.array([1.0, 0.25])) / np.array([2.0, 0.25])


@pytest.mark.parametrize("parameters", GROUPS)
def test_each_critic_reads_what_all_observe_and_do(parameters):
    ac = build(parameters)
    params, obs, action = ac.init(KEY), normal(T, N, M, F), normal(T, N, M, A)
    others = action + 1.0
    alone = ac.estimate(params, obs, action)
    found = ac.estimate(params, obs, action, others=others)
    assert alone.shape == found.shape == (E, T, N, M, 1)
    for place in range(M):
        places = (
            np.broadcast_to(np.eye(M)[place], (T, N, M)) if parameters != "own" else obs[..., 0, :0]
        )
        for estimate, of_others in ((alone, action), (found, others)):
            acts = np.array(scaled(of_others))
            acts[..., place, :] = scaled(action)[..., place, :]
            x = np.concatenate([obs.reshape(T, N, -1), places, acts.reshape(T, N, -1)], -1)
            for e in range(E):
                critic = jax.tree.map(lambda leaf, e=e: leaf[e], params["critic"])
                critic = of_agent(critic, parameters, place)["params"]
                expected = by_hand(critic, x, "ActionValues_0")
                np.testing.assert_allclose(estimate[e, :, :, place], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parameters", GROUPS)
def test_each_critic_that_is_not_central_reads_its_own_agent(parameters):
    ac = build(parameters, central=False)
    params, obs, action = ac.init(KEY), normal(T, N, M, F), normal(T, N, M, A)
    found = ac.estimate(params, obs, action, others=action + 1.0)
    outputs = ac.choices(params, obs, KEY).action
    for place in range(M):
        critic = jax.tree.map(lambda leaf: leaf[1], params["critic"])
        x = np.concatenate([obs, scaled(action)], -1)[..., place, :]
        expected = by_hand(of_agent(critic, parameters, place)["params"], x, "ActionValues_0")
        np.testing.assert_allclose(found[1, :, :, place], expected, rtol=1e-4, atol=1e-5)
        actor = of_agent(params["actor"], parameters, place)["params"]
        raw = np.tanh(by_hand(actor, obs[..., place, :], "Outputs_0"))
        np.testing.assert_allclose(scaled(outputs)[..., place, :], raw, rtol=1e-4, atol=1e-5)


def test_each_policy_follows_its_own_critic_with_the_actions_that_others_took(make_batch):
    """Equation 5: agent by agent, the same gradient as from a loss written for that one alone."""
    ac = build()
    params, obs, action = ac.init(KEY), normal(T, N, M, F), normal(T, N, M, A)
    batch = make_batch(T, N, obs=obs, action=action)

    def of_all(actor):
        return actor_loss(ac)({**params, "actor": actor}, batch, KEY)[0]

    def of_one(actor, place: int):
        chosen = ac.choices({**params, "actor": actor}, obs, KEY).action
        joint = action.at[:, :, place].set(chosen[:, :, place])
        return -jnp.mean(ac.estimate(params, obs, joint)[:, :, :, place])

    found = jax.grad(of_all)(params["actor"])
    for place in range(M):
        expected = jax.grad(of_one)(params["actor"], place)
        jax.tree.map(
            lambda x, y, place=place: np.testing.assert_allclose(
                M * x[place], y[place], rtol=1e-4, atol=1e-6
            ),
            found,
            expected,
        )


def test_targets_are_rewards_of_each_agent_and_what_all_do_next(make_batch):
    """Equation 6."""
    ac = build()
    params, obs = ac.init(KEY), normal(T, N, M, F)
    reward, discount = normal(T, N, M), jnp.full((T, N, M), 0.9)
    batch = make_batch(T, N, next_obs=obs, reward=reward).annotate(discount=discount)
    update = critic_target(ac, lambda *inputs: ac.choices(*inputs, part="target_actor"))
    _, _, batch, _ = update.apply(params, (), batch, KEY)
    following = ac.choices(params, obs, KEY, "target_actor").action
    after = ac.estimate(params, obs, following, "target_critic").min(axis=0)[..., 0]
    np.testing.assert_allclose(batch.extras["target"], reward + 0.9 * after, rtol=1e-5, atol=1e-6)


def test_discrete_actions_are_chosen_as_numbers_and_read_as_vectors():
    ac = build(actions=Discrete(A))
    params, obs = ac.init(KEY), normal(T, N, M, F)
    chosen = ac.choices(params, obs, KEY).action
    assert chosen.shape == (T, N, M, A)
    numbers = jnp.argmax(chosen, axis=-1)
    assert set(np.unique(chosen)) == {0.0, 1.0} and len(np.unique(numbers)) == A
    np.testing.assert_array_equal(
        ac.estimate(params, obs, numbers), ac.estimate(params, obs, chosen)
    )
    acted = ac.policy(params, obs[0], (), KEY)[0]
    assert acted.shape == (N, M) and acted.dtype == jnp.int32
    best, _ = ac.mode(params, obs[0], ())
    outputs = ac.distribution(params, obs[0]).logits
    np.testing.assert_array_equal(best, jnp.argmax(outputs, axis=-1))


def test_a_convolution_cannot_read_what_all_agents_observe():
    with pytest.raises(UsageError) as error:
        build(observations=Box(0, 255, (5, 5, 1), np.uint8), agent="maddpg")
    assert "give it critic_network 'mlp', not 'cnn'" in str(error.value)
    flat = build(observations=Box(0, 255, (5, 5, 1), np.uint8), critic_kind="mlp")
    assert flat.estimate(
        flat.init(KEY), jnp.zeros((T, N, M, 5, 5, 1)), normal(T, N, M, A)
    ).shape == (
        E,
        T,
        N,
        M,
        1,
    )
