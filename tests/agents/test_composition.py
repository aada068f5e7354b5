"""The code of docs/composition.md runs, and what it builds learns."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pages
import pytest

import rljax
from rljax import updates
from rljax.types import MissingField

BLOCKS = pages.code(pages.ROOT / "docs/composition.md")


@pytest.fixture(scope="module")
def page():
    """The names that the code of the page defines."""
    names: dict = {}
    exec("\n".join(BLOCKS), names)
    return names


def run(agent, iterations: int):
    def step(state, _):
        return agent.step(state)

    def train(key):
        return jax.lax.scan(step, agent.init(key), length=iterations)

    # Compiling takes longer than training here.
    fast = {"xla_backend_optimization_level": 0}
    return jax.jit(train, compiler_options=fast)(jax.random.key(0))


@pytest.mark.long
def test_the_parts_of_the_page_are_those_of_rainbow(page):
    plain, full = (inspect.signature(make).parameters for make in (rljax.dqn, rljax.rainbow))
    changed = {p.name: p.default for p in full.values() if p.default != plain[p.name].default}
    assert rljax.rainbow.Hparams() != rljax.dqn.Hparams() and plain.keys() - full.keys() == {
        "agent"
    }
    assert changed == {k: v for k, v in page["parts"].items() if k not in ("v_min", "v_max")}


@pytest.mark.slow
def test_every_step_from_double_dqn_to_rainbow_trains(page):
    small = {"num_envs": 4, "buffer_size": 200, "batch_size": 8, "warmup_env_steps": 40}
    chosen = {}
    for name, value in page["parts"].items():
        chosen[name] = value
        if name in ("head", "v_min"):
            continue  # It needs the bounds that follow.
        agent = rljax.dqn(page["cartpole"], **chosen, **small, hidden=(8,), num_atoms=5)
        _, metrics = run(agent, 3)
        assert np.isfinite(metrics["losses/td_loss"]).all(), chosen


@pytest.mark.long
def test_an_update_of_ones_own_serves_a_table_a_network_and_a_policy(page):
    for agent in page["curious"]:
        state, metrics = run(agent, 20)
        bonus = np.asarray(metrics["charts/bonus"])
        assert (bonus > 0).all() and bonus[-1] < bonus[0]
        counts = jax.tree.leaves(state.learner.update_state)[0]
        assert counts.shape == (16, 4)
        assert counts.sum() == agent.env_steps(20)


@pytest.mark.slow
def test_it_serves_them_on_several_devices(page):
    for agent in page["curious"]:
        spread = rljax.pmap(agent, 2)
        state = spread.init(jax.random.key(0))
        for _ in range(2):
            state, metrics = spread.step(state)
        assert metrics["replicas/differ"] == 0
        counts = jax.tree.leaves(state.learner.update_state)[0]
        assert counts.sum() == agent.env_steps(2)


@pytest.mark.slow
def test_a_clipped_reward_is_what_each_kind_of_agent_learns_from():
    def clip_reward(params, batch, key):
        return batch.replace(reward=jnp.clip(batch.reward, -1.0, 1.0)), {}

    first = updates.stateless(clip_reward)
    env = rljax.make("CliffWalking")
    hparams = {"lr": 1.0, "gamma": 0.0}
    table = rljax.q_learning(env, first=first, hparams=rljax.q_learning.Hparams(**hparams))
    state, _ = run(table, 300)
    # Undiscounted by the future, a cell is the last reward seen: never the cliff's -100.
    assert float(state.learner.params.min()) == -1.0
    for make in (rljax.dqn, rljax.ppo):
        _, clipped = run(make(env, first=first), 10)
        _, plain = run(make(env), 10)
        loss = "losses/td_loss" if make is rljax.dqn else "losses/value_loss"
        assert np.max(clipped[loss]) < 0.1 * np.max(plain[loss])


@pytest.mark.parametrize("make", [rljax.q_learning, rljax.dqn, rljax.ppo, rljax.a2c])
def test_a_field_that_nobody_wrote_is_named_when_the_agent_is_built(make):
    def eager(params, batch, key):
        return batch.annotate(doubled=2 * batch.extras["novelty"]), {}

    with pytest.raises(MissingField, match="update eager reads extras\\['novelty'\\]"):
        make(rljax.make("FrozenLake4x4"), first=updates.stateless(eager))
