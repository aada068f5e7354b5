"""The sections of a report, in order: each a function from runs to a `Section`, or None."""

from rljax.analysis.report.curves import curves
from rljax.analysis.report.films import films
from rljax.analysis.report.methods import comparison
from rljax.analysis.report.reading import reading
from rljax.analysis.report.results import results
from rljax.analysis.report.runs import notes, reproduction, speed
from rljax.analysis.report.settings import settings

ALL = (
    notes,
    curves,
    results,
    comparison,
    films,
    settings,
    speed,
    reproduction,
    reading,
)
