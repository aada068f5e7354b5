"""`rljax serve`: the policy of a run behind HTTP."""

import click


@click.command()
@click.argument("run")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one."
)
@click.option(
    "--batch-size", default=64, show_default=True, help="Requests answered at once, at most."
)
@click.option("--queue", default=1024, show_default=True, help="Requests that may wait.")
@click.option("--sessions", default=1024, show_default=True, help="Sessions whose carry is kept.")
@click.option(
    "--session-seconds", default=600.0, show_default=True, help="How long a session may be idle."
)
@click.option("--member", default=0, show_default=True, help="Which of the run's seeds.")
def serve(
    run: str,
    host: str,
    port: int,
    batch_size: int,
    queue: int,
    sessions: int,
    session_seconds: float,
    member: int,
) -> None:
    """Answer observations with the greedy actions of RUN's latest checkpoint: POST /act.

    Ctrl-C or SIGTERM ends it, with requests answered that are under way.
    """
    from rljax.experiments import directory, experiment

    found = directory.find(run)
    from rljax.serving import app, application
    from rljax.serving.server import serve

    application.check(batch_size, queue, sessions, session_seconds)
    config = found.load_config()
    agent, state = experiment.load(run)
    agent, state = experiment.member(agent, config, state, member)
    served = app(agent, state, batch_size, queue, sessions, session_seconds)
    about = f"{config.top.agent} on {agent.env.name}"
    serve(served, host, port, lambda address: click.echo(f"{about}: POST {address}/act"))
