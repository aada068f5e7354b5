"""Elo ratings of runs of a game of two players: each plays all others.

    python scripts/elo.py runs/early runs/late --against random --against mcts --episodes 100
    python scripts/elo.py runs/self_play --opponents

Each pair plays so many games, and each side begins half of them. Players explore, as they do while
they learn: two who always took their best moves would play the same game again and again.
"""

import itertools

import click
import jax
import jax.numpy as jnp
import numpy as np

import rljax
from rljax.analysis.ratings import elo
from rljax.envs.opponents import game_of
from rljax.training.matches import earlier_selves, move_of, outcomes


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--against", multiple=True, metavar="perfect|random|mcts", help="Further players.")
@click.option("--opponents", is_flag=True, help="Also rate the earlier selves that runs hold.")
@click.option("--episodes", default=100, show_default=True, help="Games of each pair.")
@click.option("--simulations", default=32, show_default=True, help="Of mcts, before each move.")
@click.option("--seed", default=0, show_default=True)
def main(runs, against, opponents, episodes, simulations, seed):
    """Print a table of the players, the strongest one first."""
    loaded = [rljax.load(run) for run in runs]
    game = game_of(loaded[0][0].env, "elo.py")
    selves = [[*(earlier_selves(state) if opponents else ()), state] for _, state in loaded]
    names, players, first = [], [], []
    for run, (agent, _), states in zip(runs, loaded, selves, strict=True):
        first.append(len(names))
        names += [*(f"{run} opponent {k}" for k in range(1, len(states))), run]
        players += [move_of(agent, state, game, deterministic=False) for state in states]
    names, players = [*names, *against], [*players, *against]
    points, key = np.zeros((len(names), len(names))), jax.random.key(seed)
    for (agent, _), states, begin in zip(loaded, selves, first, strict=True):
        # All selves of a run play at once, as a population, against each player behind the first.
        members = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        for j, other in enumerate(players[begin + 1 :], start=begin + 1):
            key, key_games = jax.random.split(key)
            population = rljax.vmap(agent)
            ends = outcomes(population, members, key_games, other, episodes, False, simulations)
            for i, won in enumerate((ends.sum((0, 2)) + episodes) / 2, start=begin):
                if i < j:
                    points[i, j], points[j, i] = won, episodes - won
    ratings = elo(points)
    for place in np.argsort(-ratings):
        others = itertools.compress(zip(names, points[place], strict=True), points[place] > 0)
        taken = ", ".join(f"{won:g} of {name}" for name, won in others)
        click.echo(f"{ratings[place]:+6.0f}  {names[place]}  (points: {taken or 'none'})")


if __name__ == "__main__":
    main()
