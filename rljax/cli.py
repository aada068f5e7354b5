"""The command line. Everything slow is imported by the command that needs it."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from rljax import __version__
from rljax.errors import NonFiniteError, ReplicasDiffer, RunError, UsageError, nearest

EXIT_FAILURE, EXIT_USAGE, EXIT_NON_FINITE, EXIT_PEER_LOST = 1, 2, 3, 4
ANY_FLAGS = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rljax")
def cli() -> None:
    """Reinforcement learning in which training itself is one JAX program."""


@cli.command(context_settings=ANY_FLAGS)
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
    from rljax.config import load

    config, flags = parse("CONFIG", words)
    several = distributed or (coordinator, num_processes, process_id) != (None, None, None)
    resolved = load(config, {"devices": "0", **flags} if several else flags)
    if run_dir is None and (several or resume_):
        what = "several processes need" if several else "--resume auto needs"
        raise UsageError(f"{what} --run-dir: the directory of the run, the same every time")
    _keep_compiled_programs()
    from rljax.runs import directory, experiment, processes

    if several:
        processes.join(coordinator, num_processes, process_id, join_timeout)
    with _watched() as hooks:
        resumes = resume_ is not None and directory.is_run(run_dir or "")
        processes.check_same("--run-dir, or has no such run,", repr((run_dir, resumes)).encode())
        if resumes:
            outcome = experiment.resume(run_dir or "", None, hooks, _say, resolved)
        else:
            outcome = experiment.start(resolved, run_dir, sys.argv, hooks, resume_ is not None)
    _finish(outcome)


@cli.command(context_settings=ANY_FLAGS)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="RUN [--KEY VALUE]...")
def resume(words: Sequence[str]) -> None:
    """Go on with RUN, bit for bit as if it had never stopped.

    --total-env-steps and the keys of evaluation, checkpoint and logging may be changed.
    """
    from rljax.runs.directory import find

    run, flags = parse("RUN", words)
    find(run)
    _keep_compiled_programs()
    from rljax.runs import experiment

    with _watched() as hooks:
        outcome = experiment.resume(run, flags, hooks, _say)
    _finish(outcome)


@cli.command("eval")
@click.argument("run")
@click.option("--episodes", default=64, show_default=True, help="Full episodes per seed.")
@click.option("--seed", default=0, show_default=True, help="Of the episodes.")
@click.option("--stochastic", is_flag=True, help="Sample actions instead of the likeliest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def evaluate(run: str, episodes: int, seed: int, stochastic: bool, as_json: bool) -> None:
    """Play full episodes with the latest checkpoint of RUN."""
    if episodes < 1:
        raise UsageError(f"--episodes must be at least 1, not {episodes}")
    from rljax.runs.directory import find

    find(run)
    import jax

    import rljax

    agent, state = rljax.load(run)
    result = rljax.evaluate(agent, state, jax.random.key(seed), episodes, not stochastic)
    summary = result.summary()
    if as_json:
        click.echo(json.dumps(summary))
        return
    for index, member in enumerate(summary.get("seeds", [])):
        click.echo(f"seed {index}: " + _statistics(member))
    click.echo(f"{_statistics(summary)} over {summary['episodes']} episodes")


@cli.command()
@click.argument("run")
@click.option("--out", required=True, help="The .gif or .png file to write.")
@click.option("--member", default=0, show_default=True, help="Which of the run's seeds.")
@click.option("--seed", default=0, show_default=True, help="Of the episode.")
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Where a long episode is cut.",
)
def play(run: str, out: str, member: int, seed: int, max_steps: int) -> None:
    """Draw RUN's latest checkpoint: an episode as a .gif, a table of values as a .png."""
    kind = Path(out).suffix.lower()
    if kind == ".png":
        _draw_table(run, out, member)
    elif kind == ".gif":
        _draw_episode(run, out, member, seed, max_steps)
    else:
        raise UsageError(f"--out must be a .gif (an episode) or a .png (a table), not {out!r}")


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", required=True, help="The .png file to write.")
def plot(runs: Sequence[str], out: str) -> None:
    """Draw the learning curves of one or more runs; those that differ by seed alone are one."""
    from rljax.runs.plots import draw_paths

    draw_paths(runs, out)
    click.echo(out)


@cli.command("list")
def list_() -> None:
    """Name the agents and the environments."""
    from rljax.agents import AGENTS
    from rljax.envs import NAMES

    click.echo("agents:\n  " + "\n  ".join(AGENTS))
    click.echo("environments:\n  " + "\n  ".join(NAMES))


@cli.command()
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


def parse(what: str, words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The one word that is no flag, and the flags: dotted key to text.

    `--structure.num-envs 64` and `--structure.num-envs=64` are {"structure.num_envs": "64"}; a flag
    with nothing behind it is "true". Raises UsageError unless there is exactly one such word.
    """
    alone: list[str] = []
    flags: dict[str, str] = {}
    waiting: str | None = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            key = name.replace("-", "_")
            flags[key] = value if equals else "true"
            waiting = None if equals else key
        elif waiting is not None:
            flags[waiting], waiting = word, None
        else:
            alone.append(word)
    if not alone:
        raise UsageError(f"{what} is missing: say which one")
    if len(alone) > 1:
        raise UsageError(f"{alone[1]!r} is neither a flag nor the value of one")
    return alone[0], flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the entry point of `rljax`. Returns the exit code."""
    try:
        code = _run(arguments)
    except Exception:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        code = EXIT_FAILURE
    if code and _is_one_of_several():
        # At its usual end, a process waits for the others, which wait for what it did not do.
        sys.stdout.flush()
        sys.stderr.flush()
        if code != EXIT_PEER_LOST and sys.modules["jax"].process_index() == 0:
            time.sleep(2)  # It coordinates: without it, JAX cuts short what the others still say.
        os._exit(code)
    return code


def _is_one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1


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
        if not _is_one_of_several():
            raise
        from rljax.runs import processes

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


def _say(sentence: str) -> None:
    from rljax.runs import processes

    if processes.is_first():
        click.echo(sentence, err=True)


def _statistics(summary: dict) -> str:
    return f"mean {summary['mean']:.2f}, iqm {summary['iqm']:.2f}, std {summary['std']:.2f}"


def _draw_table(run: str, out: str, member: int) -> None:
    from rljax.runs import plots, tables

    plots.save(tables.draw_tables([tables.read(run, member)]), Path(out))
    click.echo(out)


def _draw_episode(run: str, out: str, member: int, seed: int, max_steps: int) -> None:
    from rljax.runs import render
    from rljax.runs.directory import find

    config = find(run).load_config()
    name = config.top.env
    if name not in render.drawable():
        raise UsageError(f"{name} cannot be drawn; these can: {', '.join(render.drawable())}")
    import jax
    import numpy as np

    from rljax.runs import experiment

    agent, state = experiment.load(run)
    agent, state = experiment.member(agent, config, state, member)
    seen = experiment.play(agent, state, jax.random.key(seed), max_steps)
    returns = np.cumsum(seen["reward"])
    pictures = render.frames(agent.env, seen["env_state"], seen["obs"], returns)
    render.save_gif(pictures, out, render.pace(agent.env))
    click.echo(f"{out}: {len(pictures)} steps, return {returns[-1]:g}")


def _keep_compiled_programs() -> None:
    """Keep XLA's programs in the user's cache directory: a second start need not compile."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(caches / "rljax"))


@contextmanager
def _watched() -> Iterator[Callable]:
    """The hooks that show and draw a training run; the display closes when the context does."""
    from rljax.runs.hooks import drawing
    from rljax.runs.terminal import Display

    with ExitStack() as stack:

        def hooks(agent, run):
            _say(_plan(agent, run))
            display = stack.enter_context(Display(agent))
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
    from rljax.runs import processes

    run = outcome.run
    if not processes.is_first():
        sys.exit(128 + outcome.interrupted if outcome.interrupted is not None else 0)
    if run.load_config().logging.plot:
        from rljax.runs.plots import draw

        draw([run], run.curve)
    if outcome.interrupted is not None:
        name = signal.Signals(outcome.interrupted).name
        how = "the same commands" if _is_one_of_several() else f"`rljax resume {run.path}`"
        _say(f"stopped by {name}; saved: go on with {how}")
        sys.exit(128 + outcome.interrupted)
    if run.evaluation.exists():
        summary = json.loads(run.evaluation.read_text())
        for index, member in enumerate(summary.get("seeds", [])):
            click.echo(f"seed {index}: {_statistics(member)}")
        click.echo(f"evaluation: {_statistics(summary)} over {summary['episodes']} episodes")
    click.echo(f"{run.path}")
