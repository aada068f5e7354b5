"""`rljax list` and `doctor`: what there is."""

import click

from rljax.errors import RunError


@click.command("list")
def list_() -> None:
    """Name the agents and the environments."""
    from rljax.agents import AGENTS
    from rljax.envs import NAMES

    click.echo("agents:\n  " + "\n  ".join(AGENTS))
    click.echo("environments:\n  " + "\n  ".join(NAMES))


@click.command()
def doctor() -> None:
    """Say which versions and devices there are, and what is missing."""
    from rljax.runs.directory import system

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
