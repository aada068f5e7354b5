"""Errors a person can act on: one sentence that says what, where, and what to write instead."""

import difflib
import importlib.util
from collections.abc import Iterable


class UsageError(ValueError):
    """Input that cannot be used; the message is one sentence for the person who wrote it."""


class RunError(RuntimeError):
    """A run directory that cannot be used: missing, damaged, in the way, or of another make."""


class NonFiniteError(RuntimeError):
    """Training met a NaN or an infinity and stopped."""


class ReplicasDiffer(RuntimeError):
    """Devices that should have learnt the same have not."""


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of `known`, or the list where none is close."""
    known = sorted(known)
    folded = {k.lower(): k for k in known}
    matches = difflib.get_close_matches(str(word).lower(), folded, n=1, cutoff=0.5)
    if matches and isinstance(word, str):
        return f"; did you mean {folded[matches[0]]!r}?"
    return f"; there is {', '.join(known)}" if known else ""


def check_known(what: str, word: object, known: Iterable[str]) -> None:
    """Refuse a word that is not among the known ones, with the nearest that is."""
    if word not in (known := list(known)):
        raise UsageError(f"{what} {word!r} is not known{nearest(word, known)}")


def ceil_div(count: int, size: int) -> int:
    """How many parts of `size` hold `count`."""
    return -(-count // size)


def check_divides(what: str, count: int, by_what: str, divisor: int) -> None:
    """Refuse a count that `divisor` does not divide, with the nearest values of both that would."""
    if count % divisor == 0:
        return
    counts = [c for c in (count // divisor * divisor, (count // divisor + 1) * divisor) if c]
    divisors = [d for d in range(1, count + 1) if count % d == 0]
    nearby = [max((d for d in divisors if d < divisor), default=0)]
    nearby += [min((d for d in divisors if d > divisor), default=0)]
    raise UsageError(
        f"{what} = {count} does not divide by {by_what} = {divisor}: "
        f"make {what} {' or '.join(map(str, counts))}, "
        f"or {by_what} {' or '.join(str(d) for d in nearby if d)}"
    )


def check_positive(**counts: int) -> None:
    """Refuse counts below one, by name."""
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, not {count!r}")


def check_count(**counts: int) -> None:
    """Refuse counts below zero, by name."""
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise UsageError(f"{name} must be a whole number of at least 0, not {count!r}")


def check_at_most(what: str, count: int, by_what: str, most: int) -> None:
    """Refuse a count above another one, naming both."""
    if count > most:
        raise UsageError(
            f"{what} = {count} is more than {by_what} = {most}: "
            f"make {what} at most {most}, or {by_what} at least {count}"
        )


def check_extra(what: str, extra: str, *modules: str) -> None:
    """Refuse what needs modules that are not installed, naming the extra that brings them."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{what} needs {' and '.join(missing)}: pip install 'rljax-core[{extra}]'")
