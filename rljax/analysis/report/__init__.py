"""The report of some runs: one HTML file that needs no network, to open, to print, to attach.

A page is a row of sections (`sections.py`), whose charts `page.js` draws from numbers that the
page carries with it. Whatever comes from a file goes through `markup.text`, or is data that the
script sets as text; the page's content security policy lets a browser run no other script, and load
nothing.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from rljax import __version__
from rljax.analysis.comparison import Comparison
from rljax.analysis.plots import counted
from rljax.analysis.report import markup, sections
from rljax.analysis.report.markup import Section, text
from rljax.errors import RunError
from rljax.experiments.directory import check_out, write_atomically


def write(compared: Comparison, out: Path) -> None:
    """Write the report of some runs as an HTML file, all of it or nothing.

    Raises UsageError for another ending, RunError where none of the runs was evaluated yet or the
    file cannot be written.
    """
    check_out(out, ".html")
    compared.check()
    found = [section for make in sections.ALL if (section := make(compared)) is not None]
    try:
        write_atomically(out, page(_title(compared), _summary(compared), found))
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}") from None


def page(heading: str, summary: str, parts: Sequence[Section]) -> str:
    """A page of sections, whatever they are about."""
    here = files(__package__)
    script = (here / "page.js").read_text(encoding="utf-8")
    charts = {name: chart for part in parts for name, chart in part.charts.items()}
    drawn = [line["method"] for chart in charts.values() for line in chart["lines"]]
    methods = range(1 + max(drawn, default=0))
    looks = [{"colour": markup.colour(m), "dash": markup.dash(m)} for m in methods]
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        title=text(heading),
        summary=text(summary),
        version=text(__version__),
        style=(here / "page.css").read_text(encoding="utf-8"),
        script=script,
        # A browser takes the script's text from behind the tag, the line break included.
        hash="sha256-" + base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode(),
        data=_embedded({"looks": looks, "charts": charts}),
        contents="\n".join(f'<li><a href="#{p.id}">{text(p.title)}</a></li>' for p in parts),
        sections="\n".join(map(_markup, parts)),
    )


def _title(compared: Comparison) -> str:
    """Which methods on which environments."""
    methods, environments = compared.labels, list(compared.environments)
    what = " and ".join(methods) if len(methods) <= 2 else f"{len(methods)} methods"
    few = len(environments) <= 2
    return f"{what} on {' and '.join(environments) if few else f'{len(environments)} environments'}"


def _summary(compared: Comparison) -> str:
    """How much stands behind it."""
    runs = sum(len(group.runs) for group in compared.groups)
    seeds = [len(group.seeds) for group in compared.groups]
    each = f"{min(seeds)} to {max(seeds)}" if len(set(seeds)) > 1 else f"{seeds[0]}"
    steps = sum(group.steps[-1] * len(group.seeds) for group in compared.groups)
    return (
        f"{counted(sum(seeds))}{f' ({each} each)' if len(seeds) > 1 else ''} in "
        f"{runs} {'run' if runs == 1 else 'runs'}, {steps:,} environment steps in all."
    )


def _markup(section: Section) -> str:
    about = f'<p class="about">{text(section.about)}</p>\n' if section.about else ""
    return (
        f'<section id="{section.id}" aria-labelledby="{section.id}-title">\n'
        f'<h2 id="{section.id}-title">{text(section.title)}</h2>\n{about}{section.body}\n</section>'
    )


def _embedded(data: object) -> str:
    """JSON that no tag can end: a page's data has no other character that means anything."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
