"""The command `rljax bench`."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks import measuring, result_files, tables
from benchmarks.peers import check_peers, parse
from benchmarks.rows import Row, chosen
from rljax.errors import RunError, UsageError


@click.command()
@click.option("--suite", "suites", multiple=True, help="Only rows of this suite.")
@click.option(
    "--row", "names", multiple=True, help="Only this row, or all rows with this in their name."
)
@click.option(
    "--peer",
    "texts",
    multiple=True,
    metavar="NAME=PYTHON[:CHECKOUT]",
    help="Also measure this library, with its own Python; NAME alone: with the Python of rljax.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How many processes of each side.",
)
@click.option(
    "--json", "out", type=click.Path(path_type=Path), help="Write the results to this file."
)
@click.option("--list", "only_list", is_flag=True, help="Print the rows, and measure nothing.")
@click.option(
    "--from",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Measure nothing, and print the results in this file.",
)
@click.option("--markdown", is_flag=True, help="With --from: print a table in Markdown.")
@click.option("--draw", type=click.Path(path_type=Path), help="Plot the results to this .png file.")
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
    """Measure the speed of fixed pieces of work, and of other libraries on the same work.

    What was learnt is checked. docs/benchmarks.md describes the suites, rows and peers. --suite,
    --row, --peer and --from can be given several times.
    """
    if draw is not None and draw.suffix != ".png":
        raise UsageError(f"--draw must be a .png file, not {str(draw)!r}")
    rows = chosen(suites, names)
    if only_list:
        for row in rows:
            click.echo("  ".join([f"{row.suite:8}", f"{row.name:28}", *row.peers]).rstrip())
        return
    screen = Console() if Console().is_terminal else Console(width=120)
    if files:
        found = [result_files.load(file) for file in files]
        for each in found:
            if markdown:
                click.echo(tables.markdown(each))
            else:
                screen.print(tables.table(each))
        failed = []
    else:
        found = [_measured(rows, texts, repeats, out)]
        screen.print(tables.table(found[0]))
        failed = result_files.failures(found[0])
    if draw is not None:
        from benchmarks.drawing import picture
        from rljax.analysis.plots import save

        save(picture(found), draw)
        click.echo(draw)
    if failed:
        raise RunError("; ".join(failed))


def _measured(
    rows: Sequence[Row], texts: Sequence[str], repeats: int, out: Path | None
) -> result_files.Results:
    """The results of these rows. The file is written after each of them."""
    peers = parse(texts)
    check_peers(rows, peers)
    kept = result_files.begin(out)
    now = result_files.begin(None)
    console = Console(stderr=True)
    with console.status("measuring") as status:
        for row in rows:
            result = measuring.measure(row, peers, repeats, status.update)
            console.print(tables.line(result), highlight=False, soft_wrap=True)
            result_files.add(now, result)
            result_files.add(kept, result)
            if out is not None:
                result_files.save(kept, out)
    return now
