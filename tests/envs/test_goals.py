"""Which environments have a goal, and which states are at it."""

import jax
import jax.numpy as jnp
import pytest

import rljax
from rljax.envs import GRID_WORLDS, NAMES, gymnax
from rljax.envs.grid_world import GridState
from rljax.types import HasGoal

AT_GOAL = {
    "Acrobot-v1": {"joint_angle1": jnp.pi},
    "FourRooms-misc": {"pos": jnp.array([8, 9])},
    "FrozenLake-misc": {"position": 15},
    "MountainCar-v0": {"position": 0.5},
    "MountainCarContinuous-v0": {"position": 0.45},
}


@pytest.mark.parametrize("name", gymnax.GOALS)
def test_an_episode_that_ends_at_the_goal_succeeds(name):
    env = rljax.make(name)
    state, _ = env.reset(jax.random.key(0))
    assert isinstance(env, HasGoal) and not env.success(state)
    assert env.success(state.replace(**AT_GOAL[name]))


def test_a_hole_is_no_goal():
    env = rljax.make("FrozenLake-misc")
    state, _ = env.reset(jax.random.key(0))
    hole = state.replace(position=5)
    assert env.env.is_terminated(hole, env.params) and not env.success(hole)


@pytest.mark.parametrize("name", GRID_WORLDS)
def test_in_a_grid_world_goals_are_its_goal_cells(name):
    env = rljax.make(name)
    states = GridState(jnp.arange(env.cells.size), jnp.zeros(env.cells.size, int))
    assert isinstance(env, HasGoal)
    assert (jax.vmap(env.success)(states) == (env.cells.ravel() == "G")).all()


def test_other_environments_have_none():
    assert set(gymnax.GOALS) == set(AT_GOAL) < set(NAMES)
    assert not isinstance(rljax.make("CartPole-v1"), HasGoal)
