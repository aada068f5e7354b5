"""`rljax sweep`: many trials of one config."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from rljax.cli.common import ANY_FLAGS, keep_compiled_programs, parse, say, use_all_cores
from rljax.errors import UsageError


@click.command(context_settings=ANY_FLAGS)
@click.option("--space", type=click.Path(path_type=Path), help="By default CONFIG's .sweep.toml.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Exact place of the sweep.")
@click.option("--driver", default="local", help="Where trials train: local, or ray.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="CONFIG [--KEY VALUE]...")
def sweep(space: Path | None, run_dir: Path | None, driver: str, words: Sequence[str]) -> None:
    """Tune CONFIG (a TOML file) over the search space beside it, or over --space.

    Any key of the space's [sweep] is a flag: --method, --trials, --seeds, --batch, --devices ...
    So is any key of the config, by its dotted path: --total-env-steps, --structure.num-envs ...
    """
    config, flags = parse("CONFIG", words)
    keep_compiled_programs()
    _prepare(driver)
    from rljax import tune
    from rljax.experiments import config as configs
    from rljax.experiments import config_values
    from rljax.tune import settings

    own = {name: config_values.parse(flags.pop(name)) for name in settings.names() if name in flags}
    resolved = configs.load(config, flags)
    result = tune.run(
        resolved,
        space or settings.beside(config),
        run_dir=run_dir,
        driver=driver,
        report=say,
        command=sys.argv,
        **own,
    )
    show(result)


def is_sweep(path: str) -> bool:
    """Whether `rljax resume` finds a sweep there; does not import JAX to find out."""
    return (Path(path) / "sweep.toml").is_file()


def resume(path: str, flags: Mapping[str, str]) -> None:
    """Go on with a sweep: what `rljax resume` does with the directory of one."""
    for name in flags:
        if name != "driver":
            raise UsageError(f"a resumed sweep cannot change {name}: start a new sweep")
    driver = flags.get("driver", "local")
    _prepare(driver)
    from rljax import tune

    show(tune.resume(path, driver, say))


def show(result) -> None:
    """Print the best trials, and where everything is."""
    from rich.console import Console

    from rljax.tune import results

    Console(highlight=False).print(results.table(result.sweep, result.outcomes))
    for line in results.remarks(result.sweep, result.outcomes, result.importances):
        click.echo(line)
    click.echo(f"{result.directory.path}")


def _prepare(driver: str) -> None:
    """Before JAX looks for devices: take all cores, or leave the GPUs to the workers of Ray."""
    import jax

    use_all_cores()
    if driver == "ray":
        jax.config.update("jax_platforms", "cpu")
