"""The command line. Everything slow is imported by the command that needs it."""

from rljax.cli.entry import cli, main

__all__ = ["cli", "main"]
