"""Pieces of markup that sections are made of."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

COLOURS = 6
DASHES = ("", "7 4", "2 4", "9 4 2 4")  # one for each time round the colours


class Section(NamedTuple):
    """A part of the page."""

    id: str
    title: str
    about: str  # a plain sentence or two
    body: str  # markup
    charts: dict[str, dict[str, Any]] = {}  # what `page.js` draws where `chart` stands


def text(value: Any) -> str:
    """Anything as text of a page, whatever characters it has."""
    return escape(str(value))


def number(value: float) -> str:
    """Four significant digits, or all those before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def colour(method: int) -> str:
    """The colour of a method, by its place in the legend; the page has one set for the dark."""
    return f"var(--c{method % COLOURS})"


def dash(method: int) -> str:
    """The dashes of a method's lines."""
    return DASHES[method // COLOURS % len(DASHES)]


def key(method: int) -> str:
    """The line that stands for a method."""
    return (
        f'<svg class="key" data-method="{method}" viewBox="0 0 26 15" aria-hidden="true">'
        f'<line x1="0" x2="26" y1="7.5" y2="7.5" stroke="{colour(method)}" '
        f'stroke-dasharray="{dash(method)}"/></svg>'
    )


def chart(name: str, title: str, about: str = "") -> str:
    """Where the chart `name` is drawn."""
    about = f" <span>{text(about)}</span>" if about else ""
    return (
        f"<figure><figcaption>{text(title)}{about}</figcaption>"
        f'<div class="chart" data-chart="{text(name)}"></div></figure>'
    )


def range_(
    estimate: float,
    method: int,
    band: Sequence[float] = (),
    dots: Sequence[float] = (),
    rule: bool = False,
) -> str:
    """A dot from 0 to 1, in the interval `band` or among small `dots`; `rule` is a line at 0.5."""
    parts = "<u></u>" if rule else ""
    if len(band):
        low, high = band
        parts += f'<i style="left:{100 * low:.1f}%;right:{100 * (1 - high):.1f}%"></i>'
    parts += "".join(f'<s style="left:{100 * dot:.1f}%"></s>' for dot in dots)
    return (
        f'<span class="range" aria-hidden="true" style="--colour:{colour(method)}">'
        f'{parts}<b style="left:{100 * estimate:.1f}%"></b></span>'
    )


def row(cells: Iterable[str], tag: str = "td") -> str:
    """A row of a table, of markup; what is text stands left of what is numbers."""
    first, *others = cells
    scope = "col" if tag == "th" else "row"
    return (
        f'<tr><th scope="{scope}">{first}</th>{"".join(_cell(cell, tag) for cell in others)}</tr>'
    )


def _cell(content: str, tag: str) -> str:
    return content if content.startswith(("<td", "<th")) else f"<{tag}>{content}</{tag}>"


def table(caption: str, head: Sequence[str], body: str, kind: str = "") -> str:
    """A table that scrolls by itself where it is wider than the page."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">'
        f'<table class="{kind}"><thead>{row(head, "th")}</thead>{body}</table></div>'
    )


def body_of(rows: Iterable[str]) -> str:
    """The body of a table, of rows."""
    return f"<tbody>{''.join(rows)}</tbody>"
