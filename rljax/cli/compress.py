"""`rljax compress`: a smaller policy from a run, as a new run."""

import json
import sys
from typing import Any

import click

from rljax.errors import UsageError


@click.command()
@click.argument("run")
@click.option("--out", required=True, help="The new run directory.")
@click.option("--student", help="Sizes of the layers of a smaller network, such as 16,16.")
@click.option("--prune", default=0.0, help="The fraction of weights to set to zero, such as 0.8.")
@click.option("--prune-units", default=0.0, help="The fraction of hidden units to take out.")
@click.option("--scope", default="global", show_default=True, help="Of --prune: global or layer.")
@click.option("--bits", type=int, help="Of each weight, such as 8.")
@click.option("--aware", is_flag=True, help="Train with rounded weights before they are rounded.")
@click.option(
    "--env-steps", default=500_000, show_default=True, help="Of each training, for each seed."
)
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="What the teacher's logits, or action values, are divided by.",
)
@click.option("--episodes", default=64, show_default=True, help="Of each evaluation, per seed.")
@click.option("--seed", default=0, show_default=True, help="Of the trainings.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def compress(run: str, out: str, student: str | None, as_json: bool, **ways: Any) -> None:
    """Distil, prune and quantise the policy of RUN's latest checkpoint, in this order.

    Each way is an option, and they combine. The result is a run like any other, with a table of
    what each step was worth and cost (compression.json) and a plot of it (compression.png).
    """
    from rljax.experiments import directory

    directory.find(run)
    from rljax import compression

    settings = compression.Settings(student=_sizes(student), **ways)
    summary = compression.compress(
        run, out, settings, sys.argv, lambda sentence: click.echo(sentence, err=True)
    )
    if as_json:
        click.echo(json.dumps(summary))
        return
    from rljax.compression import showing

    showing.print_table(summary)
    click.echo(out)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--student must be sizes with commas between them, such as 16,16, not {text!r}"
        ) from None
