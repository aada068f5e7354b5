"""The group of all commands, and how each way of failing ends the process."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence

import click

from rljax import __version__
from rljax.cli import bench, compress, export, info, inspect, serve, sweep, train
from rljax.cli.common import is_one_of_several
from rljax.errors import NonFiniteError, ReplicasDiffer, RunError, UsageError, nearest

EXIT_FAILURE, EXIT_USAGE, EXIT_NON_FINITE, EXIT_PEER_LOST = 1, 2, 3, 4


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rljax")
def cli() -> None:
    """Reinforcement learning in which training itself is one JAX program."""


for command in (
    train.train,
    train.resume,
    sweep.sweep,
    inspect.evaluate,
    inspect.play,
    inspect.plot,
    export.export,
    compress.compress,
    serve.serve,
    bench.bench,
    inspect.report,
    info.list_,
    info.doctor,
    info.check_env,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the entry point of `rljax`. Returns the exit code."""
    if arguments is None:
        sys.path.append("")  # A module that registers environments may lie where one works.
    try:
        code = _run(arguments)
    except Exception:
        if not is_one_of_several():
            raise
        traceback.print_exc()
        code = EXIT_FAILURE
    if code and is_one_of_several():
        # At its usual end, a process waits for the others, which wait for what it did not do.
        sys.stdout.flush()
        sys.stderr.flush()
        if code != EXIT_PEER_LOST and sys.modules["jax"].process_index() == 0:
            time.sleep(2)  # It coordinates: without it, JAX cuts short what the others still say.
        os._exit(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        return cli.main(arguments, prog_name="rljax", standalone_mode=False) or 0
    except click.NoSuchOption as error:
        options = error.possibilities or []
        return _fail(
            f"flag {error.option_name} is not known{nearest(error.option_name, options)}", 2
        )
    except click.UsageError as error:
        return _fail(_unknown_command(error), EXIT_USAGE)
    except UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    except RunError as error:
        return _fail(str(error), EXIT_FAILURE)
    except (NonFiniteError, ReplicasDiffer) as error:
        return _fail(f"stopped: {error}; the last finite checkpoint is kept", EXIT_NON_FINITE)
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except RuntimeError as error:
        if not is_one_of_several():
            raise
        from rljax.parallel import processes

        lost = processes.lost()
        if lost is None:
            raise
        reason = str(error).split("\n")[0]
        return _fail(f"lost {lost}: {reason}; start all again", EXIT_PEER_LOST)


def _fail(sentence: str, code: int) -> int:
    click.echo(f"rljax: {' '.join(sentence.split())}", err=True)
    return code


def _unknown_command(error: click.UsageError) -> str:
    message = error.format_message()
    if message.startswith("No such command"):
        word = message.split("'")[1]
        return f"command {word!r} is not known{nearest(word, cli.commands)}"
    return message.rstrip(".")
