"""A student learns to act as its teachers do."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pages
import pytest
from small import SMALL
from states import different_leaves, jit

import rljax
from rljax import updates
from rljax.agents.distillation import acting_parameters
from rljax.envs import probes
from rljax.errors import UsageError
from rljax.updates.distillation import divergence

RECALL = {**SMALL, "total_env_steps": 320}
SIZES = {"num_envs": 8, "rollout_length": 8, "num_minibatches": 2, "total_env_steps": 64 * 30}


def taught(factory, env=None, seed=1, **options):
    """An agent whose parameters are large, so that its actions differ from state to state."""
    agent = factory(env or probes.Recall(), **{**RECALL, **options})
    state = jit(agent.init)(jax.random.key(seed))
    random = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: jnp.asarray(random.normal(size=x.shape), x.dtype), state.learner.params
    )
    return agent, replace(state, learner=replace(state.learner, params=params))


def learnt(agent):
    """The metrics of all iterations, and the last state."""
    run = jit(lambda key: jax.lax.scan(lambda s, _: agent.step(s), agent.init(key), length=30))
    return run(jax.random.key(0))


@pytest.mark.long
def test_a_student_comes_to_agree_with_its_teacher_and_the_critic_stays():
    student = rljax.ppo(probes.Recall(), **RECALL)
    hparams = rljax.distill.Hparams(lr=3e-2)
    agent = rljax.distill(student, [taught(rljax.ppo)], hparams=hparams, **SIZES)
    state, metrics = learnt(agent)
    loss = metrics["losses/distillation_loss"]
    assert loss[-1] < 0.1 * loss[0] and metrics["losses/agreement"][-1] > 0.9
    fresh, params = agent.init(jax.random.key(0)).learner.params, state.learner.params
    acts = acting_parameters(student, params)
    moved = jax.tree.map(lambda x, y: not np.allclose(x, y, atol=1e-5), fresh, params)
    assert moved == acts and not all(jax.tree.leaves(acts))


@pytest.mark.slow
def test_values_teach_a_policy_and_masks_stay_masks_over_devices():
    student = rljax.ppo(probes.Recall(), **RECALL)
    hparams = rljax.distill.Hparams(lr=3e-2, temperature=0.5, sparsity=0.5, prune_end=0.5)
    agent = rljax.distill(
        student, [taught(rljax.pqn)], hparams=hparams, prune="weights", bits=8, **SIZES
    )
    _, metrics = learnt(agent)
    np.testing.assert_allclose(metrics["charts/sparsity"][-1], 0.5, atol=0.03)
    assert metrics["losses/distillation_loss"][-1] < 0.5 * metrics["losses/distillation_loss"][0]
    spread = rljax.pmap(agent, 2)
    state = spread.init(jax.random.key(0))
    for _ in range(3):
        state, reported = spread.step(state)
    assert reported["replicas/differ"] == 0
    masks = [x for x in jax.tree.leaves(state.learner.update_state) if x.dtype == bool]
    kernels = [x for x in jax.tree.leaves(state.learner.params) if x.ndim == 2]
    assert masks and sum((~m).sum() for m in masks) <= sum((k == 0).sum() for k in kernels)


@pytest.mark.long
def test_what_cannot_be_distilled_is_refused():
    student = rljax.ppo(probes.Recall(), **RECALL)
    with pytest.raises(UsageError, match="needs a teacher"):
        rljax.distill(student, [])
    with pytest.raises(UsageError, match="a student for observations"):
        rljax.distill(student, [taught(rljax.ppo, probes.ContinuousTarget())])
    with pytest.raises(UsageError, match="make total_env_steps larger than 64"):
        rljax.distill(
            student, [taught(rljax.ppo)], prune="units", **{**SIZES, "total_env_steps": 64}
        )
    with pytest.raises(UsageError, match="plain agents"):
        rljax.distill(rljax.vmap(student), [taught(rljax.ppo)])


@pytest.mark.long
def test_the_code_of_the_page_runs(monkeypatch):
    page = pages.ROOT / "docs" / "compression.md"
    agent, state = taught(rljax.ppo, rljax.make("CartPole-v1"))
    monkeypatch.setattr(rljax, "load", lambda path: (agent, state))
    names = {}
    for block in pages.blocks(page):
        if block.language == "python":
            pages.run(block, page, names)
    _, metrics = jit(names["agent"].step)(names["agent"].init(jax.random.key(0)))
    assert np.isfinite(metrics["losses/policy_loss"])
    net = rljax.networks.actor_critic(agent.env, hidden=(8,)).net
    params, obs = net.init(jax.random.key(0)), jnp.ones((3, 4))
    narrow = names["in_int8"](net, params, obs)
    outputs = [n.apply(params, obs, (), None)[0][0] for n in (net, narrow)]
    assert 0 < abs(outputs[0] - outputs[1]).max() < 0.01
    update = names["fit"](lambda params, batch, key: (jnp.sum(params["w"]), {}), jnp.float32(1.0))
    params = {"w": jnp.arange(1.0, 11.0).reshape(2, 5)}
    after = update.apply(params, update.init(params, jax.random.key(0)), None, jax.random.key(0))[0]
    assert (after["w"] == 0).sum() == 8


@pytest.mark.slow
def test_kickstarting_draws_a_policy_to_its_teacher_and_lets_go():
    taught_by, sizes = [taught(rljax.ppo)], {**SIZES, "hidden": (8,), "num_epochs": 4}

    def distance(coef, until):
        agent = rljax.ppo(
            probes.Recall(),
            **sizes,
            first=updates.teachers(taught_by),
            auxiliary_loss=updates.kickstarting(coef, until),
            hparams=rljax.ppo.Hparams(lr=1e-2),
        )
        state, _ = learnt(agent)
        (teacher, shown), obs = taught_by[0], state.worker.obs
        found = [a.distribution(s, obs, ())[0] for a, s in ((teacher, shown), (agent, state))]
        return float(divergence(*found).mean()), state.learner.params

    drawn, free, let_go = (distance(*each) for each in ((10.0, 1.0), (0.0, 1.0), (10.0, 1e-6)))
    assert drawn[0] < 0.3 * free[0]
    # At progress 0 alone it counts.
    assert different_leaves(let_go[1], free[1])
    with pytest.raises(UsageError, match="no memory"):
        updates.teachers([taught(rljax.ppo, network="gru")])
