"""Full episodes in a simulator of the host: the policy is compiled, and the simulator is stepped.

`rljax.training.evaluation` does the same for environments in JAX, in one program.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from rljax import _cpu
from rljax.envs.simulators import Simulator
from rljax.networks import reset_carry
from rljax.types import Agent, Carry, Key, Obs, State


class Played(NamedTuple):
    """Full episodes, the first of each environment."""

    returns: np.ndarray  # [num_episodes] float32, the undiscounted score
    lengths: np.ndarray  # [num_episodes] int32, steps
    finished: np.ndarray  # [num_episodes] bool; False where `max_steps` cut an episode off


def episodes(
    agent: Agent, num_episodes: int, deterministic: bool, max_steps: int
) -> Callable[[State, Key], Played]:
    """The function `(state, key) -> Played`, for an agent whose environment is a simulator.

    The simulator is made for each call, with an environment for each episode, and closed after it.
    A return is the sum of `score` until `over`: a whole game, whatever the agent learns from.
    """
    act = _acting(agent, deterministic)

    def play(state: State, key: Key) -> Played:
        key, key_seeds = jax.random.split(key)
        seeds = jax.random.randint(key_seeds, (num_episodes,), 0, np.iinfo(np.int32).max)
        returns = np.zeros(num_episodes)
        lengths = np.zeros(num_episodes, np.int32)
        finished = np.zeros(num_episodes, bool)
        simulator = agent.env.simulator(num_episodes)  # type: ignore[attr-defined]
        try:
            obs = simulator.reset(np.asarray(seeds).tolist())
            carry, begins = agent.initial_carry((num_episodes,)), np.zeros(num_episodes, bool)
            while not finished.all() and lengths.max() < max_steps:
                action, carry, key = act(state, obs, carry, begins, key)
                steps = simulator.step(np.asarray(action))
                obs, begins = steps.obs, steps.terminated | steps.truncated
                returns += np.where(finished, 0.0, steps.score)
                lengths += ~finished
                finished |= steps.over
        finally:
            simulator.close()
        return Played(returns.astype(np.float32), lengths, finished)

    return play


class Film(NamedTuple):
    """One episode in pictures, from its first step on."""

    frames: list[np.ndarray]  # [steps] of uint8 [H, W, 3], what each action was chosen on
    total: float  # the undiscounted score


def film(agent: Agent, state: State, simulator: Simulator, seed: int, max_steps: int) -> Film:
    """An episode under the greedy policy, in a simulator of one environment that draws itself.

    It is cut after `max_steps`. Raises UsageError if the simulator cannot be drawn.
    """
    act = _acting(agent, deterministic=True)
    obs, key = simulator.reset([seed]), jax.random.key(seed)
    carry, begins = agent.initial_carry((1,)), np.zeros(1, bool)
    frames: list[np.ndarray] = []
    total = 0.0
    while len(frames) < max_steps:
        frames.append(simulator.render())
        action, carry, key = act(state, obs, carry, begins, key)
        steps = simulator.step(np.asarray(action))
        obs, begins = steps.obs, steps.terminated | steps.truncated
        total += float(steps.score[0])
        if steps.over[0]:
            break
    return Film(frames, total)


def _acting(agent: Agent, deterministic: bool):
    """(state, obs, carry, begins, key) to actions, the next carry and the next key, compiled.

    `begins` is true where an episode begins, and with it a carry.
    """

    @jax.jit
    @_cpu.unrolled
    def act(state: State, obs: Obs, carry: Carry, begins: jax.Array, key: Key):
        key, key_act = jax.random.split(key)
        carry = reset_carry(agent, carry, begins)
        action, carry = agent.act(state, obs, carry, None if deterministic else key_act)
        return action, carry, key

    return act
