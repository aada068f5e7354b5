"""Lottery tickets: does a pruned policy learn from the weights that it began with?

PPO is trained on CartPole. Its smallest weights are pruned. Then the rest is trained again: from
what it was after a few iterations ("rewound"), from the beginning, and from other random weights.

    python scripts/lottery_ticket.py --sparsity 0.9 --seeds 8

Source: Frankle and Carbin 2019, https://arxiv.org/abs/1803.03635; rewinding to an early iteration:
Frankle et al. 2020, https://arxiv.org/abs/1912.05671.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

import rljax
from rljax import networks, updates

ENV = rljax.make("CartPole-v1")
TORSO, OUTPUTS = partial(networks.MLP, (64, 64), nn.tanh), partial(networks.Outputs, 2, False)
NET = networks.from_linen(networks.ActorCriticModule(TORSO, OUTPUTS), ENV.observation_space.shape)


def ppo(masks, params=None):
    """PPO whose weights begin as `params`, and are multiplied by masks wherever they are used."""

    def init(key):
        return NET.init(key) if params is None else params

    def apply(params, features, carry, key):
        return NET.apply(jax.tree.map(jnp.multiply, params, masks), features, carry, key)

    return rljax.ppo(
        ENV,
        network=(init, apply),
        num_envs=8,
        rollout_length=64,
        total_env_steps=150_000,
        hparams=rljax.ppo.Hparams(lr=2e-3),
    )


def trained(agent, state, iterations):
    """The state after some more iterations."""
    return jax.lax.scan(lambda s, _: (agent.step(s)[0], None), state, length=iterations)[0]


def score(agent, state, key):
    """The mean return of 64 episodes."""
    return rljax.evaluate(agent, state, key).returns.mean()


def tickets(key, sparsity, rewind):
    """The returns of one seed's networks."""
    key_init, key_other, key_train, key_score = jax.random.split(key, 4)
    ones = jax.tree.map(lambda x: jnp.ones(x.shape), jax.eval_shape(NET.init, key))
    dense = ppo(ones)
    first = dense.init(key_init)
    early = trained(dense, first, rewind)
    last = trained(dense, early, dense.num_iterations - rewind)
    prune = updates.pruning(sparsity, scope="layer")
    params = last.learner.params
    small = prune.apply(params, prune.init(params, key), None, key)[0]
    masks = jax.tree.map(lambda x, y: (x == y).astype(jnp.float32), small, params)
    begin = {
        "rewound": early.learner.params,
        "from the beginning": first.learner.params,
        "other weights": NET.init(key_other),
    }
    agents = {name: ppo(masks, params) for name, params in begin.items()}
    found = {"dense": (dense, last), "pruned, not trained again": (ppo(masks, params), last)}
    found |= {
        name: (agent, trained(agent, agent.init(key_train), agent.num_iterations))
        for name, agent in agents.items()
    }
    return {name: score(agent, state, key_score) for name, (agent, state) in found.items()}


def main():
    """Print the mean and the worst seed of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sparsity", type=float, default=0.9, help="of each layer")
    parser.add_argument("--rewind", type=int, default=10, help="iterations before the rewound ones")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    run = jax.jit(partial(tickets, sparsity=given.sparsity, rewind=given.rewind))
    found = [run(jax.random.key(seed)) for seed in range(given.seeds)]
    for name in found[0]:
        scores = jnp.array([each[name] for each in found])
        print(f"{name}: mean {scores.mean():.1f}, worst {scores.min():.1f} of {given.seeds} seeds")


if __name__ == "__main__":
    main()
