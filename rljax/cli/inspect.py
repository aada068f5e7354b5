"""`rljax eval`, `play`, `plot` and `report`: what became of a run."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from rljax.cli import games
from rljax.cli.common import statistics
from rljax.errors import UsageError

OF_MCTS = "Of --against mcts, before each move."


@click.command("eval")
@click.argument("run")
@click.option("--episodes", default=64, show_default=True, help="Full episodes per seed.")
@click.option("--seed", default=0, show_default=True, help="Of the episodes.")
@click.option("--stochastic", is_flag=True, help="Sample actions instead of greedy ones.")
@click.option(
    "--against", metavar="perfect|random|mcts|RUN", help="Of a game: wins, draws, losses."
)
@click.option("--simulations", type=click.IntRange(1), default=32, show_default=True, help=OF_MCTS)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def evaluate(
    run: str,
    episodes: int,
    seed: int,
    stochastic: bool,
    against: str | None,
    simulations: int,
    as_json: bool,
) -> None:
    """Play full episodes with the latest checkpoint of RUN."""
    if episodes < 1:
        raise UsageError(f"--episodes must be at least 1, not {episodes}")
    from rljax.experiments.directory import find

    find(run)
    if against is not None:
        games.evaluate(run, against, episodes, seed, not stochastic, simulations, as_json)
        return
    import jax

    import rljax
    from rljax.experiments.experiment import iterations

    agent, state = rljax.load(run)
    result = rljax.evaluate(agent, state, jax.random.key(seed), episodes, not stochastic)
    summary = result.summary(agent.env_steps(iterations(state)))
    if as_json:
        click.echo(json.dumps(summary))
        return
    for index, member in enumerate(summary.get("seeds", [])):
        click.echo(f"seed {index}: " + statistics(member))
    click.echo(f"{statistics(summary)} over {summary['episodes']} episodes")


@click.command()
@click.argument("run")
@click.option("--out", help="The .gif or .png file to write.")
@click.option("--member", default=0, show_default=True, help="Which of the run's seeds.")
@click.option("--seed", default=0, show_default=True, help="Of the episode.")
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Where a long episode is cut.",
)
@click.option("--against", metavar="human|random|mcts", help="Play a game in the terminal.")
@click.option("--simulations", type=click.IntRange(1), default=32, show_default=True, help=OF_MCTS)
def play(
    run: str,
    out: str | None,
    member: int,
    seed: int,
    max_steps: int,
    against: str | None,
    simulations: int,
) -> None:
    """Draw RUN's latest checkpoint: an episode as a .gif, a table of values as a .png.

    Or play a game with it, where who plays against it moves first if --seed is even.
    """
    kind = "" if out is None else Path(out).suffix.lower()
    if against is not None:
        if out is not None and kind != ".gif":
            raise UsageError(f"--out must be a .gif, for a game, not {out!r}")
        games.play(run, against, member, seed, simulations, out)
        return
    if out is None:
        raise UsageError("--out is missing: name a .gif or .png file, or say --against whom")
    if kind == ".png":
        _draw_table(run, out, member)
    elif kind == ".gif":
        _draw_episode(run, out, member, seed, max_steps)
    else:
        raise UsageError(f"--out must be a .gif (an episode) or a .png (a table), not {out!r}")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", required=True, help="The .png file to write.")
@click.option(
    "--kind",
    type=click.Choice(["curves", "profile", "improvement"]),
    default="curves",
    show_default=True,
    help="Learning curves, performance profiles, or the probability of improvement.",
)
def plot(runs: Sequence[str], out: str, kind: str) -> None:
    """Draw one or more runs compared; those that differ by seed alone are one."""
    from rljax.analysis import comparison, plots
    from rljax.experiments import directory

    directory.check_out(Path(out), ".png")
    compared = comparison.read(runs)
    plots.draw_comparison(compared, Path(out), kind)
    for note in compared.notes:
        click.echo(note, err=True)
    click.echo(out)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", required=True, help="The .html file to write.")
def report(runs: Sequence[str], out: str) -> None:
    """Write one page about one or more runs, to open in a browser; it needs no network."""
    from rljax.analysis import comparison
    from rljax.experiments import directory

    directory.check_out(Path(out), ".html")
    from rljax.analysis import report as reports

    compared = comparison.read(runs)
    reports.write(compared, Path(out))
    for note in compared.notes:
        click.echo(note, err=True)
    click.echo(out)


def _draw_table(run: str, out: str, member: int) -> None:
    from rljax.analysis import plots, tables

    plots.save(tables.draw_tables([tables.read(run, member)]), Path(out))
    click.echo(out)


def _draw_episode(run: str, out: str, member: int, seed: int, max_steps: int) -> None:
    from rljax.analysis import render
    from rljax.envs import suite
    from rljax.experiments.directory import find

    name = find(run).load_config().top.env
    if name not in render.drawable() and suite(name) is None:
        raise UsageError(f"{name} cannot be drawn; these can: {', '.join(render.drawable())}")
    from rljax.analysis import episode

    film = episode.film(find(run), member, seed, max_steps)
    render.save_gif(film.frames, out, film.pace)
    click.echo(f"{out}: {film.steps} steps, return {film.total:g}")
