"""A3C's step: the gradient of algorithm S3, of the parameters that acted, by shared RMSProp."""

from dataclasses import asdict, replace

import jax
import numpy as np
import pytest
from states import different_leaves, jit
from test_halves import brought

import rljax

SIZES = {"num_envs": 4, "rollout_length": 6, "hidden": (8,), "anneal_lr": False}


@pytest.mark.long
def test_the_gradient_is_that_of_returns_to_the_end_of_the_rollout(walk):
    agent = rljax.a3c(walk, **SIZES)
    hparams = asdict(agent.hparams)
    given = {name: hparams[name] for name in asdict(rljax.a2c.Hparams()) if name in hparams}
    likewise = rljax.a2c(walk, **SIZES, hparams=rljax.a2c.Hparams(**{**given, "gae_lambda": 1.0}))
    state = jit(agent.init)(jax.random.key(0))
    _, batch = jit(lambda state: brought(agent, state, 6))(state)
    key = jax.random.key(1)
    ours = jit(agent.contribute)(state, batch, key)[0]
    theirs = jit(likewise.contribute)(replace(state, hparams=likewise.hparams), batch, key)[0]
    assert not different_leaves(ours, theirs)


def test_the_server_takes_the_step_of_rmsprop_and_keeps_its_statistics(walk):
    hparams = rljax.a3c.Hparams(lr=0.1, rmsprop_decay=0.9, rmsprop_eps=0.2, max_grad_norm=1e9)
    agent = rljax.a3c(walk, **SIZES, hparams=hparams)
    state = jit(agent.init)(jax.random.key(0))
    absorb = jit(agent.absorb)
    # Mean squares begin at 1: they are 1 after gradients of 1, and 0.9 + 0.1 x 4 after those of 2.
    for gradient, squares in ((1.0, 1.0), (2.0, 1.3)):
        before = state.learner.params
        gradients = jax.tree.map(lambda x, g=gradient: np.full(x.shape, g, x.dtype), before)
        state, _ = absorb(state, gradients)
        moved = jax.tree.map(lambda old, new: old - new, before, state.learner.params)
        for x in jax.tree.leaves(moved):
            np.testing.assert_allclose(x, 0.1 * gradient / np.sqrt(squares + 0.2), rtol=1e-4)


@pytest.mark.long
def test_with_a_lag_the_gradient_is_that_of_the_parameters_that_acted(walk):
    agent = rljax.a3c(walk, **SIZES, policy_lag=1)
    state = jit(agent.init)(jax.random.key(0))
    state, batch = jit(lambda state: brought(agent, state, 6))(state)
    learn = jit(agent.learn)

    def step(part: str):
        """How far the parameters move where those of a part are others."""
        params = dict(state.learner.params)
        params[part] = jax.tree.map(lambda x: x + 0.1, params[part])
        learner = replace(state.learner, params=params)
        after = learn(replace(state, learner=learner), batch)[0].learner.params["online"]
        return jax.tree.map(lambda new, old: new - old, after, params["online"])

    plain = learn(state, batch)[0].learner.params["online"]
    plain = jax.tree.map(lambda new, old: new - old, plain, state.learner.params["online"])

    def close(other) -> bool:
        return all(
            np.allclose(x, y, atol=1e-6)
            for x, y in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True)
        )

    assert close(step("online")) and not close(step("behaviour"))
