"""Keys and values of a config: which are known, and of which type they are."""

import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from rljax.errors import UsageError, nearest


def parse(text: str) -> Any:
    """A value as TOML would read it, or the text itself: 64, 1e-3, true, [64, 64], CartPole-v1."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def check_key(key: str, known: Sequence[str] | Mapping[str, Any], where: str) -> None:
    """Refuse a dotted key that is not among the known ones, with the nearest that is.

    `where` is the flag that gave it, or the file in which it stands.
    """
    if key in known:
        return
    if where.startswith("--"):
        options = ["--" + k.replace("_", "-") for k in known if not k.endswith(".")]
        raise UsageError(f"flag {where} is not known{nearest(where, options)}")
    section = key.rpartition(".")[0]
    siblings = [k for k in known if k.rpartition(".")[0] == section and not k.endswith(".")]
    raise UsageError(f"{where}: key {key!r} is not known{nearest(key, siblings or list(known))}")


def typed(
    schema: Mapping[str, tuple[Any, Any]], given: Mapping[str, tuple[Any, str]]
) -> dict[str, Any]:
    """Every key of a schema (key to type and default): as given (key to value and where), or not.

    Raises UsageError for a value of another type.
    """
    return {
        key: convert(key, *given[key], kind) if key in given else default
        for key, (kind, default) in schema.items()
    }


def convert(key: str, value: Any, where: str, kind: Any) -> Any:
    """A value as TOML has it, as the type an agent wants; UsageError if it is of another."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if option is int and number and float(value).is_integer():
            return int(value)
        if option is float and number:
            return float(value)
        if option in (bool, str) and isinstance(value, option):
            return value
        if typing.get_origin(option) is not None:
            item_kind = typing.get_args(option)[0]
            items = [value] if item_kind is str and isinstance(value, str) else value
            if isinstance(items, list) and all(type(item) is item_kind for item in items):
                return tuple(items)
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    lists = {int: "a list of whole numbers", str: "a list of texts"}
    names = [wanted[o] for o in options if o in wanted] or [lists[typing.get_args(kind)[0]]]
    raise UsageError(f"{where}: {key} must be {' or '.join(names)}, not {value!r}")
