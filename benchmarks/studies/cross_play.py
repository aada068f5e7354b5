"""MADDPG against independent DDPG: each team of one meets the other team of both.

    python benchmarks/studies/cross_play.py --env SimpleTag-MPE --num-seeds 4

Both train in self-play, as `configs/maddpg/simple_spread.toml` says but for the environment and the
learning rate. Then the first team of one plays with the second team of the other, seed by seed. As
in table 2 of Lowe et al. 2017 (https://arxiv.org/abs/1706.02275), what counts is how the teams
fare.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import cast

import click
import jax
import jax.numpy as jnp
import many_seeds
import numpy as np

import rljax
from rljax.experiments import config
from rljax.types import Agent, MultiAgentEnvironment, State

CONFIG = Path(__file__).parents[2] / "configs/maddpg/simple_spread.toml"
LEARNERS = {"maddpg": "true", "ddpg": "false"}
"""By name, whether critics read all agents."""


def mixed(agent: Agent, first: State, second: State) -> State:
    """The population `first`, but that the second team acts as that of `second` does."""
    env = cast(MultiAgentEnvironment, agent.env)
    theirs = np.isin(np.arange(len(env.agents)), env.teams[1])

    def choose(mine: jax.Array, other: jax.Array) -> jax.Array:
        return jnp.where(theirs.reshape(-1, *[1] * (mine.ndim - 2)), other, mine)

    params = first.learner.params
    actor = jax.tree.map(choose, params["actor"], second.learner.params["actor"])
    return replace(first, learner=replace(first.learner, params={**params, "actor": actor}))


@click.command(help=__doc__.splitlines()[0])
@click.option("--env", default="SimpleTag-MPE", show_default=True)
@click.option("--env-steps", default="300000", show_default=True)
@click.option("--lr", default="3e-3", show_default=True)
@click.option("--seed", default=100, show_default=True, help="the first seed")
@click.option("--num-seeds", default=4, show_default=True)
@click.option("--episodes", default=256, show_default=True)
def main(env: str, env_steps: str, lr: str, seed: int, num_seeds: int, episodes: int) -> None:
    """Train both, and print the table."""
    trained = {}
    for name, central in LEARNERS.items():
        flags = {"env": env, "total_env_steps": env_steps, "hparams.lr": lr}
        agent = config.load(CONFIG, flags | {"structure.central": central}).agent()
        population, keys = many_seeds.population(agent, seed, num_seeds)
        trained[name] = population, rljax.train(population, keys)[0]
    print(f"{'first team':12}{'second team':12} mean returns of both, and of each seed")
    for first, second in product(LEARNERS, repeat=2):
        population, state = trained[first]
        state = mixed(population, state, trained[second][1])
        played = rljax.evaluate(population, state, jax.random.key(seed), episodes)
        means = np.asarray(played.team_returns).mean(axis=1)
        each = " ".join(f"({a:.1f}, {b:.1f})" for a, b in means)
        print(f"{first:12}{second:12} {np.round(means.mean(axis=0), 2)} {each}", flush=True)


if __name__ == "__main__":
    main()
