"""Policies of each kind, with parameters that were drawn instead of learnt."""

import jax
import jax.numpy as jnp
import numpy as np
from small import SMALL

import rljax

OF_ROLLOUTS = {**SMALL, "total_env_steps": 320}
OF_REPLAY = {"num_envs": 4, "total_env_steps": 2000, "hidden": (8,)}
AGENTS = {
    "discrete": lambda: rljax.ppo(rljax.make("CartPole-v1"), **OF_ROLLOUTS),
    "normal": lambda: rljax.ppo(
        rljax.make("Pendulum-v1"), normalize_observations=True, **OF_ROLLOUTS
    ),
    "tanh_normal": lambda: rljax.ppo(
        rljax.make("Pendulum-v1"),
        normalize_observations=True,
        distribution="tanh_normal",
        **OF_ROLLOUTS,
    ),
    "dqn": lambda: rljax.dqn(rljax.make("CartPole-v1"), **OF_REPLAY),
    "gru": lambda: rljax.ppo(rljax.make("CartPole-v1"), network="gru", **OF_ROLLOUTS),
    "table": lambda: rljax.q_learning(rljax.make("FrozenLake4x4"), num_envs=4, total_env_steps=320),
    "sac": lambda: rljax.sac(rljax.make("Pendulum-v1"), **OF_REPLAY),
    "cnn": lambda: rljax.ppo(rljax.make("Breakout-MinAtar"), **OF_ROLLOUTS),
    "mask": lambda: rljax.ppo(rljax.make("ConnectFour"), **OF_ROLLOUTS),
}


def drawn(random, argument, rows):
    shape = (rows, *argument.shape)
    match np.dtype(argument.dtype).kind:
        case "b":
            return random.random(shape) < 0.5
        case "f":
            return (2 * random.normal(size=shape)).astype(np.float32)
    return random.integers(0, 16, shape).astype(argument.dtype)


def fresh(agent):
    """A state with parameters as training leaves them, drawn without compiling anything.

    Of what a policy does not read there are shapes alone.
    """
    random = np.random.default_rng(0)
    state = jax.eval_shape(agent.init, jax.random.key(0))

    def parameters(x):
        drawn = random.normal(size=x.shape) * 1.5 * np.prod(x.shape[:-1]) ** -0.5
        return jnp.asarray(drawn if x.ndim > 1 else random.uniform(0.1, 0.3, x.shape), x.dtype)

    params = jax.tree.map(parameters, state.learner.params)
    learner = state.learner.replace(params=params)
    return state.replace(iteration=np.int32(0), learner=learner)
