"""`rljax export`: the policy of a run as a file."""

import click


@click.command()
@click.argument("run")
@click.option("--to", required=True, help="stablehlo, onnx or c.")
@click.option("--out", required=True, help="The .stablehlo, .onnx or .c file to write.")
@click.option("--member", default=0, show_default=True, help="Which of the run's seeds.")
def export(run: str, to: str, out: str, member: int) -> None:
    """Write the greedy policy of RUN's latest checkpoint as one file, and its card beside it.

    StableHLO is for JAX's own `jax.export`, ONNX for onnxruntime, and C for any C99 compiler.
    """
    from rljax.experiments import directory, experiment

    found = directory.find(run)
    from rljax import exports
    from rljax.exports.card import of_run

    exports.check(to, out)
    agent, state = experiment.load(run)
    agent, state = experiment.member(agent, found.load_config(), state, member)
    card = exports.export(agent, state, to, out, of_run(found, member))
    parameters = card["parameters"]["number"]
    click.echo(f"{out}: {card['bytes']:,} bytes, {parameters:,} parameters; card {out}.json")
