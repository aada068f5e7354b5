"""Games of two players in the terminal: matches, and one game against a person or a program."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rljax.cli.common import say
from rljax.errors import UsageError


def evaluate(
    run: str,
    against: str,
    episodes: int,
    seed: int,
    deterministic: bool,
    simulations: int,
    as_json: bool,
) -> None:
    """Print how the latest checkpoint of a run does against an opponent."""
    import jax

    import rljax
    from rljax.envs.opponents import Opponent, game_of
    from rljax.training.matches import match, move_of

    agent, state = rljax.load(run)
    key = jax.random.key(seed)
    other: str | Opponent = against
    if Path(against).is_dir():
        other = move_of(*rljax.load(against), game_of(agent.env, "--against"), deterministic)
    played = match(agent, state, key, other, episodes, deterministic, simulations).summary()
    if as_json:
        click.echo(json.dumps({"against": against, **played}))
        return
    for moves in ("first", "second"):
        click.echo(f"moving {moves}: {_ends(played[moves])}")
    click.echo(f"{_ends(played)} in {played['episodes']} games against {against}")


def play(run: str, against: str, member: int, seed: int, simulations: int, out: str | None) -> None:
    """Play a game in the terminal; where `out` is given, draw it."""
    import jax

    from rljax.envs import autoreset
    from rljax.envs.opponents import game_of
    from rljax.experiments import experiment
    from rljax.experiments.directory import find
    from rljax.training import matches
    from rljax.types import HasText

    agent, state = experiment.load(find(run).path)
    agent, state = experiment.member(agent, find(run).load_config(), state, member)
    game = game_of(agent.env, "--against")
    board = getattr(game, "env", game)
    if not isinstance(board, HasText):
        raise UsageError(
            f"{game.name} cannot be shown in a terminal: play TicTacToeGame or ConnectFourGame"
        )
    other: Callable[..., Any] = _ask
    if against != "human":
        other = jax.jit(matches.opponent(against, game, simulations))
    act = jax.jit(lambda obs, carry: agent.act(state, obs, carry, None))
    step = jax.jit(lambda key, state, action: autoreset.step(game, key, state, action))

    key = jax.random.key(seed)
    env_state, obs = autoreset.reset(game, key)
    carry, reward, over = agent.initial_carry((1,)), 0.0, False
    seen: list[Any] = []
    other_begins = seed % 2 == 0
    other_name = "you" if against == "human" else against
    names = (other_name, "the agent") if other_begins else ("the agent", other_name)
    click.echo(", ".join(f"{mark}: {who}" for mark, who in zip(game.players, names, strict=True)))
    while not over:
        click.echo(f"\n{board.text(env_state)}")
        mover = names[len(seen) % 2]
        key, key_move, key_step = jax.random.split(key, 3)
        if mover == "the agent":
            action, carry = act(jax.tree.map(lambda x: x[None], obs), carry)
            action = action[0]
        else:
            action = other(key_move, env_state, obs)
        if mover != "you":
            click.echo(f"{mover} plays {int(action)}")
        env_state, obs, reward, terminated, truncated = step(key_step, env_state, action)
        seen.append(jax.device_get(env_state))
        over = bool(terminated | truncated)
    click.echo(f"\n{board.text(env_state)}")
    click.echo("a draw" if reward == 0 else f"{mover} {'win' if mover == 'you' else 'wins'}")
    if out is not None:
        _draw(board, seen, out)


def _ask(key: Any, state: Any, obs: Any) -> int:
    """The move that a person types: asked for again until it is legal."""
    import numpy as np

    legal = [str(action) for action in np.flatnonzero(obs.legal)]
    while (words := click.prompt("your move", prompt_suffix=": ").strip()) not in legal:
        click.echo(f"{words!r} is no legal move: type one of {', '.join(legal)}")
    return int(words)


def _draw(board: Any, states: list[Any], out: str) -> None:
    import numpy as np

    from rljax.analysis import render

    stacked = type(states[0])(*(np.stack(leaves) for leaves in zip(*states, strict=True)))
    nothing = np.zeros(len(states))
    render.save_gif(render.frames(board, stacked, nothing, nothing), Path(out), render.pace(board))
    say(out)


def _ends(tally: dict[str, Any]) -> str:
    return f"{tally['wins']} wins, {tally['draws']} draws, {tally['losses']} losses"
