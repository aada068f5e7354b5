"""`rljax bench`: runs the benchmarks of the checkout, which are no part of the wheel."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import click

from rljax.errors import RunError

CHECKOUT = Path(__file__).parents[2]  # The parent of rljax/, if that was not installed as a wheel.


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def bench(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Measure the speed of fixed pieces of work, and of other libraries on the same work."""
    command = load(CHECKOUT).bench
    command.main(list(arguments), prog_name=context.command_path, standalone_mode=False)


def load(checkout: Path) -> ModuleType:
    """The module of the command, in the package `benchmarks` of a checkout.

    The package is imported from its place. To put the checkout on the path would make all of its
    folders importable. Raises RunError if there is no such package.
    """
    package = checkout / "benchmarks/__init__.py"
    if not package.is_file() or not (checkout / "pyproject.toml").is_file():
        raise RunError(
            "the benchmarks are not in the installed package: clone the repository, "
            "run `pip install -e .` in it, and call `rljax bench` again"
        )
    if "benchmarks" not in sys.modules:
        spec = importlib.util.spec_from_file_location("benchmarks", package)
        assert spec and spec.loader
        sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["benchmarks"])
    return importlib.import_module("benchmarks.command")
