"""An agent that is another one with some choices made: it says only what is its own."""

import inspect
import re
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from rljax.errors import check_known

ARGUMENTS = re.compile(r"(^Args:\n)(.*?)(?=^\n|\Z)", re.DOTALL | re.M)
ARGUMENT = re.compile(r"^    (\w+): .*?(?=^    \w|\Z)", re.DOTALL | re.M)


def variant_of(base: Callable, *chosen: str) -> Callable[[Any], Any]:
    """Decorates a factory `(env, *, own=..., **arguments)` that calls `base` with `arguments`.

    It gets the signature of `base` and its documentation of arguments; its own arguments, and what
    it says of them, stand in front or in the place of those of the same name. Arguments of `base`
    that are `chosen` are left out, and refused.
    """

    def decorate(factory: Any) -> Any:
        own = {
            name: p
            for name, p in inspect.signature(factory).parameters.items()
            if p.kind is not p.VAR_KEYWORD
        }
        inherited = inspect.signature(base).parameters
        kept = {name: p for name, p in inherited.items() if name not in chosen}
        taken = {**kept, **own}
        factory.__signature__ = inspect.Signature(list(taken.values()))
        if base.__doc__ and factory.__doc__:  # `python -OO` has none
            factory.__doc__ = _joined(factory.__doc__, base.__doc__, taken)

        @wraps(factory)
        def refusing(*args: Any, **arguments: Any) -> Any:
            for name in arguments:
                check_known(f"{factory.__name__}: argument", name, taken)
            return factory(*args, **arguments)

        return refusing

    return decorate


def _joined(own: str, before: str, taken: Iterable[str]) -> str:
    """The documentation `own`, with what `before` says besides of the arguments `taken`."""
    # Without the indentation, which Python 3.13 leaves out itself.
    own, before = inspect.cleandoc(own), inspect.cleandoc(before)
    documented = {**_documented(before), **_documented(own)}
    listed = "".join(documented[name] for name in taken)
    rest = before[ARGUMENTS.search(before).end() :]  # type: ignore[union-attr]
    return f"{ARGUMENTS.sub('', own).rstrip()}\n\nArgs:\n{listed}{rest}"


def _documented(doc: str) -> dict[str, str]:
    """Argument to its lines in the section "Args:"."""
    found = ARGUMENTS.search(doc)
    lines = ARGUMENT.finditer(found[2]) if found else ()
    return {m[1]: f"{m[0].rstrip()}\n" for m in lines}
