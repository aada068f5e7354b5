"""Elo ratings of runs of a game of two players: each plays all others.

    python scripts/elo.py runs/early runs/late --against random --against mcts --episodes 100

Each pair plays so many games, and each side begins half of them. Players explore, as they do while
they learn: two who always took their best moves would play the same game again and again.
"""

import itertools

import click
import jax
import numpy as np

import rljax
from rljax.analysis.ratings import elo
from rljax.envs.opponents import game_of
from rljax.training.matches import match, move_of


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--against", multiple=True, metavar="perfect|random|mcts", help="Further players.")
@click.option("--episodes", default=100, show_default=True, help="Games of each pair.")
@click.option("--simulations", default=32, show_default=True, help="Of mcts, before each move.")
@click.option("--seed", default=0, show_default=True)
def main(runs, against, episodes, simulations, seed):
    """Print a table of the players, the strongest one first."""
    players = [rljax.load(run) for run in runs]
    names, keys = [*runs, *against], jax.random.split(jax.random.key(seed), len(runs))
    points = np.zeros((len(names), len(names)))
    for i, (agent, state) in enumerate(players):
        game = game_of(agent.env, "elo.py")
        others = [
            *(move_of(*player, game, deterministic=False) for player in players[i + 1 :]),
            *against,
        ]
        for j, other in enumerate(others, start=i + 1):
            key = jax.random.fold_in(keys[i], j)
            played = match(agent, state, key, other, episodes, False, simulations).summary()
            points[i, j] = played["wins"] + 0.5 * played["draws"]
            points[j, i] = played["losses"] + 0.5 * played["draws"]
    ratings = elo(points)
    for place in np.argsort(-ratings):
        others = itertools.compress(zip(names, points[place], strict=True), points[place] > 0)
        taken = ", ".join(f"{won:g} of {name}" for name, won in others)
        click.echo(f"{ratings[place]:+6.0f}  {names[place]}  (points: {taken or 'none'})")


if __name__ == "__main__":
    main()
