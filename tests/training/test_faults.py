from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import SMALL
from states import digest

import rljax
from rljax.envs import spaces
from rljax.errors import NonFiniteError
from rljax.training import loop


@dataclass(frozen=True)
class Poisoned:
    """Counts steps; in step 20 one number that the environment gives is not finite."""

    where: str
    name: str = "Poisoned"
    observation_space: spaces.Box = spaces.Box(-np.inf, np.inf, (1,))
    action_space: spaces.Discrete = spaces.Discrete(2)

    def reset(self, key):
        return jnp.int32(0), jnp.zeros(1)

    def step(self, key, state, action):
        state = state + 1
        poison = jnp.where(state == 20, jnp.nan, 1.0)
        obs = jnp.ones(1) * (poison if self.where == "obs" else 1.0)
        reward = poison if self.where == "reward" else jnp.float32(1.0)
        return state, obs, reward, jnp.bool_(False), jnp.bool_(False)


@pytest.mark.parametrize(("where", "named"), [("obs", "an observation"), ("reward", "a reward")])
def test_what_an_environment_poisons_stops_the_run_and_is_named(where, named):
    agent = rljax.ppo(Poisoned(where), total_env_steps=32 * 10, **SMALL)
    rows = []
    with pytest.raises(
        NonFiniteError, match=rf"{named} .* Poisoned .*iteration 3 \(env steps 96\)"
    ) as caught:
        rljax.train(
            agent, jax.random.key(0), chunk_iterations=2, hooks=[lambda s, r: rows.append(r)]
        )
    assert "params/" in str(caught.value)
    assert len(rows) == 1, "the chunk before the poison, and no other, reaches the hooks"


def test_a_gradient_that_explodes_is_named(cartpole):
    agent = rljax.ppo(
        cartpole, total_env_steps=320, hparams=rljax.ppo.Hparams(value_coef=float("inf")), **SMALL
    )
    with pytest.raises(NonFiniteError, match="a gradient is not finite in iteration 1"):
        rljax.train(agent, jax.random.key(0))


@pytest.mark.long
def test_members_that_are_unsound_are_told_apart_and_the_others_keep_their_bits(agent):
    population, keys = rljax.vmap(agent), jax.random.split(jax.random.key(0), 3)
    sound, unsound = np.full(3, 1e-3), np.array([1e-3, 1e38, 1e-3])
    found = []

    def train(lr, **given):
        begin = population.init(keys, rljax.ppo.Hparams(lr=lr))
        *_, (state, _) = loop.iterate(population, begin, 10, **given)
        return jax.tree.map(lambda x: x[jnp.array([0, 2])], state.learner)

    with pytest.raises(NonFiniteError, match="a gradient is not finite in iteration 1 .*params/"):
        train(unsound)
    beside = train(unsound, on_fault=found.append)
    assert digest(beside) == digest(train(sound))
    assert [list(faults) for faults in found] == [[1]]
    assert (found[0][1].iteration, found[0][1].env_steps) == (1, 32)
