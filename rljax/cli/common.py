"""What the commands share: flags that are config keys, and sentences."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from rljax.errors import UsageError
from rljax.statistics import central_name

ANY_FLAGS = {"ignore_unknown_options": True, "allow_extra_args": True}


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


def say(sentence: str) -> None:
    """Print a sentence on standard error, once for all processes of a run."""
    from rljax.parallel import processes

    if processes.is_first():
        click.echo(sentence, err=True)


def statistics(summary: dict) -> str:
    """What an evaluation, or a seed's part in it, came to, as a line of a terminal has it."""
    names = {"mean": "mean", "iqm": "IQM over seeds", "worst": "worst seed", "std": "std"}
    parts = [f"{name} {summary[key]:.2f}" for key, name in names.items() if key in summary]
    if "interval" in summary:
        low, high = summary["interval"]
        name = central_name(len(summary["seeds"]))
        parts.append(f"95% interval of the {name} {low:.2f} to {high:.2f}")
    if "success_rate" in summary:
        parts.append(f"success {summary['success_rate']:.1%}")
    return ", ".join(parts)


def keep_compiled_programs() -> None:
    """Keep XLA's programs in the user's cache directory: a second start need not compile."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(caches / "rljax"))


def use_all_cores() -> None:
    """Let the CPU be as many devices as it has cores, unless the environment says how many.

    Members of a population have nothing to say to each other, and one device keeps one core busy.
    """
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        from rljax.distributed.drivers import cores

        jax.config.update("jax_num_cpu_devices", cores())


def is_one_of_several() -> bool:
    """Whether other processes take part in this run; does not import JAX to find out."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1
