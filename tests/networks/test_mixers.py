"""Networks of several agents, and what makes one value of theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import networks, updates
from rljax.envs import probes
from rljax.envs.teams import described
from rljax.networks import Network, from_linen, mixing, monotonic, of_agents, total
from rljax.networks.memory import MEMORIES

M, G = 3, 4
KEY = jax.random.key(0)
line = Network(
    lambda key: jax.random.normal(key, (2,)),
    lambda params, x, carry, key: (x @ params + jnp.sum(carry, -1), carry + x),
    lambda leading: jnp.zeros((*leading, 2)),
)


@pytest.mark.parametrize("groups", [(0, 0, 0), (0, 1, 1), (0, 1, 2), (2, 0, 1)])
def test_agents_are_their_group_s_network_each(groups):
    net = of_agents(line, groups, rank=1)
    params, x = net.init(KEY), jax.random.normal(KEY, (5, M, 2))
    carry = net.initial_carry((5,))
    assert carry.shape == (5, M, 2)
    outputs, after = net.apply(params, x, carry, None)
    assert outputs.shape == (5, M) and after.shape == (5, M, 2)
    for agent, group in enumerate(groups):
        own = params if max(groups) == 0 else params[group]
        np.testing.assert_allclose(outputs[:, agent], x[:, agent] @ own, rtol=1e-5)


@pytest.mark.parametrize("groups", [(0, 0, 0), (0, 1, 1)])
def test_sequences_are_unrolled_for_each_agent_and_begin_anew_for_all(groups):
    net = of_agents(line, groups, rank=1)
    params, x = net.init(KEY), jax.random.normal(KEY, (6, 2, M, 2))
    done = jax.random.bernoulli(KEY, 0.3, (6, 2))
    start = jax.random.normal(KEY, (2, M, 2))
    outputs, carries = networks.unroll(net, params, x, start, done)
    assert outputs.shape == (6, 2, M) and carries.shape == (6, 2, M, 2)
    carry = start
    for t in range(6):
        expected, after = net.apply(params, x[t], carry, None)
        np.testing.assert_allclose(outputs[t], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(carries[t], after, rtol=1e-4, atol=1e-5)
        carry = jnp.where(done[t][:, None, None], 0.0, after)


def test_the_mixture_never_falls_where_a_value_rises_and_depends_on_the_state():
    mixer = monotonic(M, G)
    # As if it had learnt: at first the state counts for little.
    params = jax.jit(lambda key: jax.tree.map(lambda x: 30.0 * x, mixer.init(key)))(KEY)
    key = jax.random.key(1)
    values, state = jax.random.normal(key, (100, M)), jax.random.normal(key, (100, G))
    slope = jax.jit(jax.vmap(jax.grad(mixer.apply, 1), (None, 0, 0)))(params, values, state)
    slope = np.asarray(slope)
    assert (slope >= 0).all() and (slope > 0).mean() > 0.9
    apply = jax.jit(mixer.apply)
    others = jax.random.normal(jax.random.key(2), (100, G))
    assert not np.allclose(apply(params, values, state), apply(params, values, others), atol=1e-2)


@pytest.mark.long
def test_at_first_the_mixture_is_near_the_sum():
    mixer, values = monotonic(M, G), 0.2 * jax.random.normal(KEY, (100, M))
    mixed = mixer.apply(mixer.init(KEY), values, jax.random.normal(KEY, (100, G)))
    np.testing.assert_allclose(mixed, values.sum(-1), atol=0.2)


def test_a_sum_is_a_mixer_without_parameters():
    assert total().init(KEY) == ()
    np.testing.assert_array_equal(total().apply((), jnp.arange(6.0).reshape(2, 3), None), [3, 12])


def q_of(mixer):
    env = described(probes.Signals(), state=True)
    q = networks.q_network(
        env,
        hidden=(8,),
        head=networks.value_head("scalar"),
        names=["own", "agent"],
        groups=(0, 0),
    )
    q = networks.with_target(networks.with_mixer(q, mixing(mixer, env), "qmix"))
    return env, q


def steps(env, make_batch, time=2, envs=3):
    def one(key):
        state, obs = env.reset(key)
        _, next_obs, reward, *_ = env.step(key, state, jnp.array([1, 0]))
        return obs, next_obs, reward

    keys = jax.random.split(KEY, (time, envs))
    obs, next_obs, reward = jax.vmap(jax.vmap(one))(keys)
    action = jnp.broadcast_to(jnp.array([1, 0]), (time, envs, 2))
    return make_batch(time, envs, obs=obs, next_obs=next_obs, action=action, reward=reward)


@pytest.mark.parametrize("mixer", ["sum", "monotonic"])
def test_targets_and_losses_are_of_the_mixture(mixer, make_batch):
    env, q = q_of(mixer)
    params = jax.jit(q.net.init)(KEY)
    other = jax.tree.map(lambda x: np.float32(0.5) * np.asarray(x), params["target"])
    params = {**params, "target": other}
    batch = steps(env, make_batch)
    update = updates.chain(updates.team_reward(env), updates.td.n_step(0.9), updates.td_target(q))
    state = jax.jit(update.init)(params, KEY)
    _, _, after, _ = jax.jit(update.apply)(params, state, batch, KEY)
    values = jax.jit(q.by_target().values)(params, batch.next_obs, (), None)[0].max(-1)
    if mixer == "sum":
        mixed = values.sum(-1)
    else:
        inner = mixing(mixer, env).apply
        mixed = inner(other["mixer"], values, batch.next_obs["state"][..., 0, :])
    expected = batch.reward.sum(-1) + 0.9 * mixed
    np.testing.assert_allclose(after.extras["target"], expected, rtol=1e-5, atol=1e-5)
    _, metrics = jax.jit(updates.q_loss(q))(params, after, KEY)
    each = np.asarray(jax.jit(q.values)(params, batch.obs, (), None)[0])
    chosen = np.stack([each[..., agent, action] for agent, action in enumerate((1, 0))], axis=-1)
    chosen = q.mix(params, chosen, batch.obs)
    np.testing.assert_allclose(metrics["priority"], abs(expected - chosen), rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_memories_of_agents_are_apart():
    memory = MEMORIES["gru"](4)
    net = of_agents(from_linen(memory, (2,), memory.carry_size), (0, 0), rank=1)
    x = jnp.stack([jnp.zeros((3, 2)), jnp.ones((3, 2))], axis=1)
    _, after = net.apply(net.init(KEY), x, net.initial_carry((3,)), None)
    assert after.shape[:2] == (3, 2) and not np.allclose(after[:, 0], after[:, 1])
