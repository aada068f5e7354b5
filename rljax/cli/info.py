"""`rljax list`, `doctor` and `check-env`: what there is, and whether it is right."""

import importlib
import inspect
import sys
from typing import Any

import click

from rljax.errors import RunError, UsageError, nearest


@click.command("list")
def list_() -> None:
    """Name the agents and the environments."""
    from rljax.agents import AGENTS
    from rljax.envs import NAMES, SUITES

    click.echo("agents:\n  " + "\n  ".join(AGENTS))
    click.echo("environments:\n  " + "\n  ".join(NAMES))
    click.echo("simulators:")
    for name, what in SUITES.items():
        click.echo(f"  {name}/...: {what}")


@click.command()
def doctor() -> None:
    """Say which versions and devices there are, and what is missing."""
    from rljax.experiments.directory import system

    found = system()
    packages = found.pop("packages")
    assert isinstance(packages, dict)
    for name, value in found.items():
        click.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    for name, version in packages.items():
        click.echo(f"{name}: {version or 'missing'}")
    missing = [name for name, version in packages.items() if version is None]
    if missing:
        raise RunError(f"missing: {', '.join(missing)}; install rljax again")


@click.command("check-env")
@click.argument("what", metavar="MODULE:FACTORY|NAME")
def check_env(what: str) -> int:
    """Say what is wrong with an environment, where, and what to write.

    MODULE:FACTORY is a class or function of your own that makes one, or the environment itself. A
    function may make a gymnasium.Env, or take num_envs and make a gymnasium.vector.VectorEnv.
    """
    env = _environment(what)
    from rljax.envs.check import check_env

    found = check_env(env)
    for finding in found:
        click.echo(str(finding))
    if not found:
        click.echo(f"{env.name}: nothing found")
    return int(any(finding.is_error for finding in found))


def _environment(what: str) -> Any:
    """The environment registered by a name, or made by MODULE:FACTORY."""
    from rljax import envs

    module, colon, member = what.partition(":")
    if not colon or envs.suite(what):
        return envs.make(what)
    sys.path.insert(0, "")  # As `python -m` does: modules here are found first.
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # Of whoever wrote the module.
        raise UsageError(f"module {module} cannot be imported: {error}") from error
    if not hasattr(loaded, member):
        raise UsageError(f"{module} has no {member!r}{nearest(member, dir(loaded))}")
    found = getattr(loaded, member)
    if not isinstance(found, type) and hasattr(found, "step"):
        return found
    try:
        if "num_envs" in inspect.signature(found).parameters:
            return envs.make(found)
        made = found()
        gymnasium = sys.modules.get("gymnasium")
        return envs.make(found) if gymnasium and isinstance(made, gymnasium.Env) else made
    except Exception as error:
        raise UsageError(f"{what} cannot be made: {error}") from error
