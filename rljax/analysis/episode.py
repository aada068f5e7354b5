"""An episode that the agent of a run plays, as pictures."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.analysis import mujoco_frames, render
from rljax.analysis.drawings.canvas import HEIGHT, WIDTH
from rljax.envs.agents import agent_axis, joint_return, team_returns
from rljax.envs.opponents import Against
from rljax.envs.physics import PhysicsEnvironment
from rljax.envs.simulators import on_host
from rljax.envs.states import WithState
from rljax.envs.teams import Described
from rljax.experiments import experiment
from rljax.experiments.directory import RunDirectory
from rljax.training import host_evaluation


class Film(NamedTuple):
    """An episode, from its first step on."""

    frames: list[np.ndarray]  # of uint8 [H, W, 3]
    steps: int  # as many as there are frames, or more
    total: float  # the undiscounted return of these steps
    pace: float  # frames per second


def film(run: RunDirectory, member: int, seed: int, max_steps: int) -> Film:
    """One episode under the latest checkpoint of a run's seed number `member`.

    `seed` is that of the episode, which is cut after `max_steps`. Raises UsageError for an
    environment that cannot be drawn or a member that is not there, RunError without a checkpoint.
    A simulator of the host draws itself. A robot is drawn in the time that passes for it.
    """
    config = run.load_config()
    agent, state = experiment.load(run.path)
    agent, state = experiment.member(agent, config, state, member)
    if on_host(agent.env):
        simulator = config.env(render_mode="rgb_array").simulator(1)
        try:
            seen = host_evaluation.film(agent, state, simulator, seed, max_steps)
        finally:
            simulator.close()
        return Film(seen.frames, len(seen.frames), seen.total, render.pace(agent.env))
    played = experiment.play(agent, state, jax.random.key(seed), max_steps)
    returns = np.cumsum(played["reward"], axis=0)
    env, steps, total = agent.env, len(returns), float(joint_return(agent.env, returns[-1]))
    if isinstance(env, PhysicsEnvironment):
        every = max(1, round(1 / (render.PACE * env.seconds_per_step)))
        states = jax.tree.map(lambda x: x[::every], played["env_state"])
        frames = mujoco_frames.draw(env.name, *env.poses(states), WIDTH, HEIGHT)
        return Film(frames, steps, total, 1 / (every * env.seconds_per_step))
    obs = played["obs"]
    if agent_axis(env):
        returns = np.asarray(team_returns(env, jnp.asarray(returns)))
    states = played["env_state"]
    if isinstance(env, Described):
        env, obs = env.env, obs["own"]
    if isinstance(env, Against):
        env, states = env.env, states.game
    if isinstance(env, WithState):
        env = env.env
    frames = render.frames(env, states, obs, returns)
    return Film(frames, steps, total, render.pace(env))
