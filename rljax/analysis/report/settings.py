"""The hyperparameters of the runs, and what differs between methods."""

from typing import Any

from rljax.analysis.comparison import Comparison, shown
from rljax.analysis.report.markup import Section, body_of, row, table, text
from rljax.analysis.report.values import NOTHING, named, seed_numbers


def settings(compared: Comparison) -> Section:
    """The hyperparameters: what differs between groups, and what does not."""
    values = [{**g.runs[0].method, "seeds": seed_numbers(g.seeds)} for g in compared.groups]
    names = list(dict.fromkeys(name for own in values for name in own))
    differing = [n for n in names if any(own.get(n) != values[0].get(n) for own in values)]
    differing.sort(key=lambda n: not all(n in own for own in values))  # Others' keys stand last.
    same = [row([text(n), text(_setting(values[0].get(n)))]) for n in names if n not in differing]
    alike = table("Hyperparameters", ["key", "value"], body_of(same), "settings")
    about = "As resolved when the runs began."
    if len(values) == 1:
        return Section("settings", "Hyperparameters", about, alike)
    body = ""
    if differing:
        cells = [[_marked(own.get(n), values[0].get(n)) for own in values] for n in differing]
        keys, groups = [text(n) for n in differing], [named(compared, g) for g in compared.groups]
        if len(groups) > len(keys):  # A page has more room downwards.
            cells = [list(column) for column in zip(*cells, strict=True)]
            keys, groups = groups, keys
        rows = [row([name, *own]) for name, own in zip(keys, cells, strict=True)]
        body = table("What differs", ["", *groups], body_of(rows), "settings")
        about += " What differs from the method named first is marked."
    told = f"{len(same)} keys that are the same in all"
    body += f"<details><summary>{told}</summary>{alike}</details>"
    return Section("settings", "Hyperparameters", about, body)


def _marked(value: Any, first: Any) -> str:
    """A cell, marked where it is not what the first one is."""
    differs = ' class="differs"' if value != first else ""
    return f"<td{differs}>{text(_setting(value))}</td>"


def _setting(value: Any) -> str:
    return NOTHING if value is None else shown(value)
