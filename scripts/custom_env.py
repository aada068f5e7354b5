"""Train on an environment of your own: any object with five members, and nothing to register.

    python scripts/custom_env.py --agent ppo

Any agent that has a network will do: ppo, a2c, reinforce, dqn, rainbow, apex, pqn.
"""

from typing import NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np

import rljax
from rljax import agents
from rljax.envs import spaces
from rljax.training.evaluation import episodes


class State(NamedTuple):
    """Whatever your environment has to remember; any pytree of arrays."""

    height: jax.Array  # [] m
    speed: jax.Array  # [] m/s, upwards
    time: jax.Array  # [] int32, steps so far


class SoftLanding:
    """Bring a falling rocket down gently: a step is 0.1 s, with the engine off (0) or on (1).

    Touching the ground terminates the episode and costs the speed; each step with the engine on
    costs 0.1. After 200 steps an episode is truncated.
    """

    name = "SoftLanding"
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)

    def reset(self, key):
        """A new episode: its state, and what is seen of it."""
        state = State(jax.random.uniform(key, (), minval=5.0, maxval=15.0), 0.0, 0)
        return state, self.observe(state)

    def step(self, key, state, action):
        """The next state, observation and reward; terminated, truncated. No automatic reset."""
        speed = state.speed + 0.1 * (10.0 * action - 5.0)  # gravity 5 m/s², thrust 10 m/s²
        state = State(state.height + 0.1 * speed, speed, state.time + 1)
        landed = state.height <= 0
        reward = -0.1 * action - jnp.where(landed, jnp.abs(speed), 0.0)
        return state, self.observe(state), reward, landed, ~landed & (state.time >= 200)

    def observe(self, state):
        """Numbers of about 1 are what networks like."""
        return jnp.stack([state.height / 10.0, state.speed / 10.0])


@click.command(help=__doc__.splitlines()[0])
@click.option("--agent", "name", default="ppo", show_default=True, help="One with a network.")
@click.option("--total-env-steps", default=300_000, show_default=True)
def main(name, total_env_steps):
    """Train, play full episodes before and after, and say how they went."""
    agent = agents.factory(name)(SoftLanding(), total_env_steps=total_env_steps)
    before = jax.jit(agent.init)(jax.random.key(0))
    after, _ = rljax.train(agent, before)
    play = episodes(agent, num_episodes=64)
    for when, state in (("before", before), ("after", after)):
        played = play(state, jax.random.key(1))
        print(f"{when}: return {played.returns.mean():.1f}, {played.lengths.mean():.0f} steps")


if __name__ == "__main__":
    main()
