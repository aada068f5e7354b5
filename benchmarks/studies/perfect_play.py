"""How often a player of connect four does what a perfect solver would.

    python benchmarks/studies/perfect_play.py runs/connect_four --positions 500

Each position comes from a game of random moves that is not over, and not all moves in it have the
same outcome. A move keeps the value if the game is worth as much
behind it as before: a win stays a win, a draw a draw. It is the best one if no other wins sooner or
loses later. The solver is BitBully (https://github.com/MarkusThill/BitBully), `pip install
bitbully`. The player takes its greedy moves; beside it stand `mcts` with random playouts and
somebody who moves at random.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np

import rljax
from rljax.envs.action_masks import with_mask
from rljax.envs.opponents import Opponent
from rljax.training.matches import move_of, opponent

GAME = "ConnectFourGame"
MOST_MOVES = 34  # behind which hardly a position is open


class Positions(NamedTuple):
    """M positions of connect four, and what each move in them is worth."""

    states: Any
    """Of the environment; every leaf [M, ...]."""
    obs: Any
    """What who is to move observes, [M, ...]."""
    scores: np.ndarray
    """[M, 7], of BitBully for who is to move: above 0 for a win, the more the sooner, 0 for a draw
    and below 0 for a loss; NaN for a full column."""


def solver() -> Callable[[list[int]], np.ndarray]:
    """From the moves of a game to the scores of the next ones, [7]."""
    from bitbully import BitBully, Board

    solving = BitBully()

    def scores(moves: list[int]) -> np.ndarray:
        found = np.full(7, np.nan)
        for column, score in solving.score_all_moves(Board(moves)).items():
            found[column] = score
        return found

    return scores


def positions(count: int, seed: int, scores: Callable[[list[int]], np.ndarray]) -> Positions:
    """Different open positions of random games, 0 to `MOST_MOVES` moves old."""
    env = rljax.make(GAME)
    step = jax.jit(env.step)
    key, random = jax.random.key(seed), np.random.default_rng(seed)
    found: dict[bytes, tuple[Any, np.ndarray]] = {}
    while len(found) < count:
        state, obs = env.reset(key)
        moves: list[int] = []
        over = False
        for _ in range(random.integers(MOST_MOVES + 1)):
            moves.append(int(random.choice(np.flatnonzero(env.action_mask(state)))))
            state, obs, _, over, _ = step(key, state, moves[-1])
            if over:
                break
        if not over and len(np.unique(np.sign(worth := scores(moves))[~np.isnan(worth)])) > 1:
            found[np.asarray(state.board).tobytes()] = (state, with_mask(env, state, obs)), worth
    states, seen = jax.tree.map(lambda *x: jnp.stack(x), *(both for both, _ in found.values()))
    return Positions(states, seen, np.stack([worth for _, worth in found.values()]))


def agreement(move: Opponent, given: Positions, key: jax.Array) -> dict[str, float]:
    """The part of the positions in which a player keeps the value, and takes a best move."""
    keys = jax.random.split(key, len(given.scores))
    actions = np.asarray(jax.jit(jax.vmap(move))(keys, given.states, given.obs))
    taken, best = given.scores[np.arange(len(actions)), actions], np.nanmax(given.scores, axis=1)
    return {
        "keeps_value": float(np.mean(np.sign(taken) == np.sign(best))),
        "best_move": float(np.mean(taken == best)),
    }


@click.command(help=__doc__.splitlines()[0])
@click.argument("run")
@click.option("--positions", "count", default=500, show_default=True)
@click.option("--seed", default=100, show_default=True)
@click.option("--simulations", default=128, show_default=True, help="of mcts, before each move")
@click.option("--json", "file", type=click.Path(path_type=Path), help="write the figures here")
def main(run: str, count: int, seed: int, simulations: int, file: Path | None) -> None:
    """Compare a run and the others on the same positions, and print the table."""
    game = rljax.make(GAME)
    given = positions(count, seed, solver())
    players = {
        run: move_of(*rljax.load(run), game),
        f"mcts, {simulations} simulations": opponent("mcts", game, simulations),
        "random": opponent("random", game),
    }
    figures = {}
    for name, move in players.items():
        figures[name] = agreement(move, given, jax.random.key(seed))
        part = figures[name]
        print(f"{name:28} keeps the value {part['keeps_value']:.3f}, best {part['best_move']:.3f}")
    if file:
        file.write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
