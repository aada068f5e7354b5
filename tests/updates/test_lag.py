"""Actors that lag behind: which version of the parameters acts, and what is learnt from it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pages
import pytest
from states import arrays, different_leaves, jit

import rljax
from rljax import actors, agents, networks, updates
from rljax.envs import probes
from rljax.errors import UsageError
from rljax.types import MissingField

N, T = 4, 8
SIZES = {"num_envs": N, "rollout_length": T, "hidden": (8,), "total_env_steps": 1000}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams:
    """The size of a step."""

    lr: float = 1.0


def counting(lag: int, first=None):
    """An agent whose parameters are the number of iterations done, and whose actors record them."""
    env = probes.ConstantReward()

    def policy(params, obs, carry, key):
        action = jnp.zeros(len(obs), jnp.int32)
        return action, {"version": jnp.full(len(obs), params["version"])}, carry

    actor = actors.lagged(
        rljax.types.Actor(
            lambda key: {"version": jnp.float32(0)},
            lambda hparams, progress: policy,
            lambda hparams: (
                lambda params, obs, carry: (
                    jnp.full(len(obs), params["version"]),
                    carry,
                )
            ),
        ),
        lag,
    )

    def count(params, state, batch, key):
        acted = batch.extras["version"]
        metrics = {"acted": acted.mean(), "spread": jnp.ptp(acted), "learns": params["version"]}
        return {"version": params["version"] + 1}, state + 1, batch, metrics

    def update(hparams, progress):
        learn = updates.chain(first, updates.Update(lambda params, key: jnp.int32(0), count))
        return updates.remember_parameters(learn, lag)

    return agents.on_policy(
        env,
        actor=actor,
        update=update,
        hparams=Hparams(),
        schedule=agents.Schedule(N, T, 1000),
    )


@pytest.mark.parametrize("lag", [0, 1, 2, 5])
def test_the_version_of_so_many_iterations_ago_acts(lag):
    agent = counting(lag)
    state, step = jit(agent.init)(jax.random.key(0)), jit(agent.step)
    for iteration in range(9):
        state, metrics = step(state)
        assert metrics["learns"] == iteration and metrics["spread"] == 0
        assert metrics["acted"] == max(iteration - lag, 0)
        assert metrics.get("charts/policy_lag", 0) == min(iteration, lag)
    obs = state.worker.obs
    assert (agent.act(state, obs, (), None)[0] == 9).all()
    versions = [] if lag == 0 else state.learner.params["behaviour"]["version"]
    np.testing.assert_array_equal(versions, [max(9 - k, 0) for k in range(lag, 0, -1)])


def test_without_a_lag_nothing_is_added():
    actor, update = counting(0), updates.chain()
    assert actors.lagged(actor, 0) is actor
    assert updates.remember_parameters(update, 0) is update
    state, metrics = jax.eval_shape(lambda key: actor.step(actor.init(key)), jax.random.key(0))
    assert {*state.learner.params} == {"version"} and "charts/policy_lag" not in metrics


@pytest.mark.parametrize("lag", [-1, True, 2.0, "2", None])
def test_a_lag_is_a_whole_number_of_at_least_0(lag):
    message = f"policy_lag must be a whole number of at least 0, not {lag!r}"
    for refuse in (
        lambda: actors.lagged(counting(0), lag),
        lambda: updates.remember_parameters(updates.chain(), lag),
        lambda: rljax.impala(probes.ConstantReward(), policy_lag=lag, **SIZES),
        lambda: rljax.ppo(probes.ConstantReward(), policy_lag=lag, **SIZES),
    ):
        with pytest.raises(UsageError) as error:
            refuse()
        assert str(error.value) == message


def test_a_field_that_nobody_wrote_is_named_through_the_wrapper():
    def eager(params, batch, key):
        return batch.annotate(x=batch.extras["novelty"]), {}

    with pytest.raises(MissingField, match="^update eager reads extras\\['novelty'\\]"):
        counting(2, first=updates.stateless(eager))


@pytest.mark.long
def test_members_of_a_population_and_devices_lag_alike():
    agent = counting(2)
    population, spread = rljax.vmap(agent), rljax.pmap(agent, 2)
    states = population.init(jax.random.split(jax.random.key(0), 3))
    state = spread.init(jax.random.key(0))
    step_all, step = jit(population.step), jit(spread.step)
    for iteration in range(4):
        states, metrics = step_all(states)
        np.testing.assert_array_equal(metrics["acted"], np.full(3, max(iteration - 2, 0)))
        state, metrics = step(state)
        assert metrics["acted"] == max(iteration - 2, 0) and metrics["replicas/differ"] == 0


@pytest.mark.long
def test_running_statistics_lag_with_the_network_that_they_normalise_for():
    agent = rljax.impala(
        probes.ContinuousTarget(), policy_lag=1, normalize_observations=True, **SIZES
    )
    state, step = jit(agent.init)(jax.random.key(0)), jit(agent.step)
    before, _ = step(state)
    after, _ = step(before)
    kept = jax.tree.map(lambda x: x[0], after.learner.params["behaviour"])
    assert not different_leaves(kept, before.learner.params["online"])
    assert after.learner.params["online"]["statistics"].count == 2 * N * T
    assert kept["statistics"].count == N * T


@pytest.mark.parametrize("name", ["impala", pytest.param("appo", marks=pytest.mark.slow)])
@pytest.mark.long
def test_without_a_correction_who_lags_learns_what_a2c_or_ppo_would_from_the_same_batch(name):
    env, lag = probes.Recall(), 2
    more = {"num_minibatches": 2} if name == "appo" else {}
    make = getattr(rljax, name)
    lags = make(env, policy_lag=lag, correction="none", **SIZES, **more)
    plain = make(env, correction="none", **SIZES, **more)
    state = jit(lags.init)(jax.random.key(0))
    for _ in range(3):
        state, _ = jit(lags.step)(state)
    ac = networks.actor_critic(env, hidden=(8,))
    worker, batch = jit(
        lambda: actors.rollout(
            env,
            ac.policy,
            lambda carry, done: carry,
            jax.tree.map(lambda x: x[0], state.learner.params["behaviour"]),
            state.worker,
            jax.random.key(1),
            T,
        )
    )()
    count, inner = state.learner.update_state
    alone = jit(plain.init)(jax.random.key(0))
    alone = alone.replace(
        key=jax.random.clone(state.key),
        iteration=state.iteration,
        learner=alone.learner.replace(params=state.learner.params["online"], update_state=inner),
    )
    expected = jit(plain.learn)(alone, batch)[0].learner.params
    found = jit(lags.learn)(state, batch)[0].learner.params["online"]
    for path, x in arrays(expected).items():
        np.testing.assert_allclose(arrays(found)[path], x, rtol=1e-5, atol=1e-6, err_msg=path)
    assert count == lag


@pytest.mark.long
def test_the_agent_of_the_page_lags():
    *_, code = pages.code(pages.ROOT / "docs/agents/impala.md")
    names: dict = {}
    exec(code, names)
    agent = names["agent"]
    state, step = jit(agent.init)(jax.random.key(0)), jit(agent.step)
    for iteration in range(6):
        state, metrics = step(state)
        assert metrics["charts/policy_lag"] == min(iteration, 4)
        assert np.isfinite(metrics["losses/policy_loss"])
    assert metrics["losses/rho_clipped"] > 0
