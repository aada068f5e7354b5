"""The command: how fast rljax is, and other libraries on the same work."""

from collections.abc import Sequence
from pathlib import Path

import click

from rljax.errors import RunError, UsageError


@click.command()
@click.option("--suite", "suites", multiple=True, help="Only rows of this suite.")
@click.option("--row", "names", multiple=True, help="Only this row, or rows with this in the name.")
@click.option(
    "--peer",
    "texts",
    multiple=True,
    metavar="NAME=PYTHON[:CHECKOUT]",
    help="A library to measure beside, in its own environment; NAME alone for one in this.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Processes of each side.",
)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Keep results in this file.")
@click.option("--list", "only_list", is_flag=True, help="Name the rows, and measure nothing.")
@click.option(
    "--from",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Measure nothing: show the results in this file.",
)
@click.option("--markdown", is_flag=True, help="With --from: the table of the README.")
@click.option(
    "--draw", type=click.Path(path_type=Path), help="Draw the results, as a .png; see --from."
)
def bench(
    suites: Sequence[str],
    names: Sequence[str],
    texts: Sequence[str],
    repeats: int,
    out: Path | None,
    only_list: bool,
    files: Sequence[Path],
    markdown: bool,
    draw: Path | None,
) -> None:
    """Measure fixed pieces of work, with what was learnt checked, and peers on the same in turns.

    Suites, rows and peers are told of in docs/benchmarks.md. More than one of --suite, --row,
    --peer and --from may be given.
    """
    if draw is not None and draw.suffix != ".png":
        raise UsageError(f"a picture is a .png file, not {str(draw)!r}")
    from benchmarks.rows import chosen

    rows = chosen(suites, names)
    if only_list:
        for row in rows:
            click.echo("  ".join([f"{row.suite:8}", f"{row.name:28}", *row.peers]).rstrip())
        return
    from rich.console import Console

    from benchmarks import result_files

    screen = Console() if Console().is_terminal else Console(width=120)
    if files:
        found = [result_files.load(file) for file in files]
        for each in found:
            if markdown:
                click.echo(result_files.markdown(each))
            else:
                screen.print(result_files.table(each))
        failed = []
    else:
        found = [_measured(rows, texts, repeats, out)]
        screen.print(result_files.table(found[0]))
        failed = result_files.failures(found[0])
    if draw is not None:
        from benchmarks.drawing import picture
        from rljax.analysis.plots import save

        save(picture(found), draw)
        click.echo(draw)
    if failed:
        raise RunError("; ".join(failed))


def _measured(rows, texts, repeats, out):
    """The results of these rows, put into the file after each of them."""
    from rich.console import Console

    from benchmarks import measuring, result_files

    peers = measuring.peers(texts)
    measuring.check_peers(rows, peers)
    kept = result_files.begin(out)
    now = result_files.begin(None)
    console = Console(stderr=True)
    with console.status("measuring") as status:
        for row in rows:
            result = measuring.measure(row, peers, repeats, status.update)
            console.print(result_files.line(result), highlight=False, soft_wrap=True)
            result_files.add(now, result)
            result_files.add(kept, result)
            if out is not None:
                result_files.save(kept, out)
    return now
