"""`rljax train` and `rljax resume`."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from rljax.cli import sweep
from rljax.cli.common import (
    ANY_FLAGS,
    is_one_of_several,
    keep_compiled_programs,
    parse,
    say,
    statistics,
)
from rljax.errors import UsageError


@click.command(context_settings=ANY_FLAGS)
@click.option("--run-dir", type=click.Path(path_type=Path), help="Exact place of the run.")
@click.option(
    "--resume",
    "resume_",
    type=click.Choice(["auto"]),
    help="Go on with the run in --run-dir, if there is one: a job may be started again as it was.",
)
@click.option(
    "--distributed",
    is_flag=True,
    help="One of several processes, in Slurm, Kubernetes or on a TPU pod.",
)
@click.option("--coordinator", help="HOST:PORT of process 0, anywhere else.")
@click.option("--num-processes", type=click.IntRange(1), help="How many processes there are.")
@click.option("--process-id", type=click.IntRange(0), help="Which of them this is.")
@click.option(
    "--join-timeout", default=300, show_default=True, help="Seconds to wait for the others."
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="CONFIG [--KEY VALUE]...")
def train(
    run_dir: Path | None,
    resume_: str | None,
    distributed: bool,
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    join_timeout: int,
    words: Sequence[str],
) -> None:
    """Train as CONFIG (a TOML file) says.

    Any key of the config is a flag by its dotted path: --env, --seed, --num-seeds, --devices,
    --total-env-steps, --structure.num-envs, --hparams.lr, --evaluation.episodes ...
    """
    from rljax.experiments.config import load

    config, flags = parse("CONFIG", words)
    several = distributed or (coordinator, num_processes, process_id) != (None, None, None)
    resolved = load(config, {"devices": "0", **flags} if several else flags)
    if run_dir is None and (several or resume_):
        what = "several processes need" if several else "--resume auto needs"
        raise UsageError(f"{what} --run-dir: the directory of the run, the same every time")
    keep_compiled_programs()
    from rljax.experiments import directory, experiment
    from rljax.parallel import processes

    if several:
        processes.join(coordinator, num_processes, process_id, join_timeout)
    with _watched() as hooks:
        resumes = resume_ is not None and directory.is_run(run_dir or "")
        processes.check_same("--run-dir, or has no such run,", repr((run_dir, resumes)).encode())
        if resumes:
            outcome = experiment.resume(run_dir or "", None, hooks, say, resolved)
        else:
            may_exist = resume_ is not None
            outcome = experiment.start(resolved, run_dir, sys.argv, hooks, may_exist, say)
    _finish(outcome)


@click.command(context_settings=ANY_FLAGS)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="RUN [--KEY VALUE]...")
def resume(words: Sequence[str]) -> None:
    """Go on with RUN, bit for bit as if it had never stopped; or with a sweep.

    --total-env-steps, --schedule-env-steps, --devices, --actors, --driver and the keys of
    evaluation, checkpoint and logging may be changed; of a sweep, --driver. A run that is made
    longer keeps its schedules.
    """
    from rljax.experiments.directory import find

    run, flags = parse("RUN", words)
    keep_compiled_programs()
    if sweep.is_sweep(run):
        sweep.resume(run, flags)
        return
    find(run)
    from rljax.experiments import experiment

    with _watched() as hooks:
        outcome = experiment.resume(run, flags, hooks, say)
    _finish(outcome)


@contextmanager
def _watched() -> Iterator[Callable]:
    """The hooks that show and draw a training run; the display closes when the context does."""
    from rljax.analysis.plots import drawing
    from rljax.experiments import metrics
    from rljax.experiments.terminal import Display

    with ExitStack() as stack:

        def hooks(agent, run):
            say(_plan(agent, run))
            display = stack.enter_context(Display(agent, rows=metrics.read(run.metrics)))
            return [display, *([drawing(run)] if run.load_config().logging.plot else [])]

        yield hooks


def _plan(agent, run) -> str:
    top = run.load_config().top
    steps = agent.env_steps(agent.num_iterations)
    rounded = (
        "" if steps == top.total_env_steps else f" ({top.total_env_steps:,} asked, rounded up)"
    )
    seeds = "" if top.num_seeds == 1 else f", {top.num_seeds} seeds"
    return f"{top.agent} on {top.env}{seeds}: {steps:,} environment steps{rounded} in {run.path}"


def _finish(outcome) -> None:
    """Draw the last curve, say what came of it, and exit as documented if a signal ended it."""
    from rljax.parallel import processes

    run = outcome.run
    if not processes.is_first():
        sys.exit(128 + outcome.interrupted if outcome.interrupted is not None else 0)
    if run.load_config().logging.plot:
        from rljax.analysis.plots import draw

        draw([run], run.curve)
    if outcome.interrupted is not None:
        name = signal.Signals(outcome.interrupted).name
        how = "the same commands" if is_one_of_several() else f"`rljax resume {run.path}`"
        say(f"stopped by {name}; saved: go on with {how}")
        sys.exit(128 + outcome.interrupted)
    if run.evaluation.exists():
        summary = json.loads(run.evaluation.read_text())
        for index, member in enumerate(summary.get("seeds", [])):
            click.echo(f"seed {index}: {statistics(member)}")
        click.echo(f"evaluation: {statistics(summary)} over {summary['episodes']} episodes")
    click.echo(f"{run.path}")
