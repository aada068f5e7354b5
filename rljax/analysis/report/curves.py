"""Learning curves: a chart for each environment, and one for all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rljax import statistics
from rljax.analysis import plots
from rljax.analysis.comparison import Comparison, Seed
from rljax.analysis.plots import counted
from rljax.analysis.report.markup import Section, chart, key, text
from rljax.analysis.report.values import bounds, plain
from rljax.errors import UsageError
from rljax.statistics import FEWEST_FOR_INTERVAL, central, central_name


def curves(compared: Comparison) -> Section:
    """Learning curves, a chart for each environment, and one for all where that can be."""
    charts, body = {}, []
    axes = {"xTitle": "environment steps", "xName": "* environment steps", "whole": True}
    for number_, (name, groups) in enumerate(compared.environments.items()):
        place = f"curve-{number_}"
        lines = [_line(compared, g.label, g.steps, g.returns[..., None], g.seeds) for g in groups]
        charts[place] = {"title": name, "yTitle": "return", "lines": lines, **axes}
        body.append(chart(place, name))
    about = (
        f"Points are evaluations over full episodes: {_central_in_words(compared)} of each seed's "
        "mean return. Bands are 95% bootstrap intervals; of fewer than "
        f"{FEWEST_FOR_INTERVAL} seeds there is none, and thin lines are the seeds themselves. "
    )
    if len(compared.environments) > 1:
        try:
            lines = [
                _line(compared, label, steps, scores)
                for label, (steps, scores) in compared.curves().items()
            ]
            count = len(compared.environments)
            title = "Both environments" if count == 2 else f"All {count} environments"
            chart_ = {"title": title, "yTitle": "normalised return", "lines": lines, **axes}
            charts["curve-all"] = chart_
            body.append(chart("curve-all", title, "normalised"))
        except UsageError as error:
            about += f"There is no curve of all environments together: {error}. "
    about += "Point at a curve, or press arrow keys in one, to read its values."
    return Section("curves", "Learning curves", about, _legend(compared) + _grid(body), charts)


def _grid(figures: list[str]) -> str:
    return (
        f'<div class="charts">{"".join(figures)}</div>'
        "<noscript>Curves are drawn by a script, which this browser does not run.</noscript>"
    )


def _legend(compared: Comparison) -> str:
    items = []
    for method, label in enumerate(compared.labels):
        seeds = {len(g.seeds) for g in compared.groups if g.label == label}
        count = counted(seeds.pop()) if len(seeds) == 1 else "different numbers of seeds"
        items.append(
            f'<li><button type="button" aria-pressed="true" data-method="{method}">'
            f"{key(method)}{text(label)}, {count}</button></li>"
        )
    if any(len(group.seeds) >= FEWEST_FOR_INTERVAL for group in compared.groups):
        switch = '<input type="checkbox" id="each-seed">each seed'
        items.append(f'<li><label class="toggle">{switch}</label></li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _line(
    compared: Comparison,
    label: str,
    x: np.ndarray,
    scores: np.ndarray,
    seeds: Sequence[Seed] = (),
) -> dict[str, Any]:
    """A curve of scores [K, N, M]: what stands for the seeds, with an interval if they are enough.

    With `seeds`, those of the only environment, the curve of each seed, too.
    """
    count = scores.shape[1]
    line = {
        "label": label,
        "method": compared.labels.index(label),
        "told": f"seed {seeds[0].seed}" if len(seeds) == 1 else plots.estimate(count),
        "x": x.tolist(),
        "y": plain(central(scores)),
        **bounds(statistics.interval(central, scores)),
    }
    if len(seeds) > 1:
        line["seeds"] = [seed.seed for seed in seeds]
        line["each"] = [plain(one) for one in scores[..., 0].T]
    return line


def _central_in_words(compared: Comparison) -> str:
    """What `statistics.central` is of the groups."""
    names = {central_name(len(group.seeds)) for group in compared.groups}
    if len(names) == 1:
        return f"the {names.pop()} over seeds"
    return f"the mean over seeds, from {statistics.FEWEST_FOR_IQM} seeds on their IQM,"
