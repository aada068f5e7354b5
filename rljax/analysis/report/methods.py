"""Methods compared: performance profiles and the probability of improvement."""

import numpy as np

from rljax import statistics
from rljax.analysis import plots
from rljax.analysis.comparison import Comparison
from rljax.analysis.plots import counted
from rljax.analysis.report.markup import Section, body_of, chart, key, range_, row, table, text
from rljax.analysis.report.values import NOTHING, bounds, plain
from rljax.errors import UsageError


def comparison(compared: Comparison) -> Section | None:
    """Performance profiles and the probability of improvement, of several methods."""
    if len(compared.labels) < 2:
        return None
    title = "Methods compared"
    try:
        scores = compared.scores()
    except UsageError as error:
        return Section("comparison", title, f"They cannot be: {error}.", "")
    thresholds = plots.profile_thresholds(scores)

    def profile(sampled: np.ndarray) -> np.ndarray:
        return statistics.performance_profile(sampled, thresholds)

    lines = []
    for label, own in scores.items():
        line = {"label": label, "method": compared.labels.index(label), "x": plain(thresholds)}
        line |= {"y": plain(profile(own)), "told": counted(len(own))}
        lines.append(line | bounds(statistics.interval(profile, own)))
    what = plots.scale_name(compared)
    charts = {
        "profile": {
            "title": "Performance profile",
            "xTitle": what,
            "xName": "above *",
            "yTitle": "fraction of seeds above it",
            "heights": [0, 1],
            "lines": lines,
        }
    }
    profiles = chart("profile", "Performance profile", "fraction of seeds above each return")
    body = f'{_improvement(compared, scores)}<div class="charts">{profiles}</div>'
    ends = {
        name: min(group.budget for group in groups)
        for name, groups in compared.environments.items()
    }
    uneven = [
        f"on {name} at {end:,} environment steps"
        for name, end in ends.items()
        if any(group.budget != end for group in compared.environments[name])
    ]
    about = "Each seed counts by its last evaluation."
    if uneven:
        about += f" Where methods end apart, the shortest one's end counts: {', '.join(uneven)}."
    if len(ends) > 1:
        about += (
            " A return is normalised within its environment: 0 is the lowest and 1 the highest "
            "that any seed here was evaluated with, at any time."
        )
    return Section("comparison", title, about, body, charts)


def _improvement(compared: Comparison, scores: dict[str, np.ndarray]) -> str:
    rows = []
    for ours, theirs in plots.pairs(compared.labels):
        both = scores[ours], scores[theirs]
        chance = float(statistics.probability_of_improvement(*both))
        bounds = statistics.interval(statistics.probability_of_improvement, *both)
        band = [] if bounds is None else [float(bound) for bound in bounds]
        said = "{:.2f} to {:.2f}".format(*band) if band else NOTHING
        method = compared.labels.index(ours)
        name = f"{key(method)}{text(ours)} over {text(theirs)}"
        rows.append(
            row(
                [
                    name,
                    f"<strong>{chance:.2f}</strong>",
                    said,
                    range_(chance, method, band, rule=True),
                ]
            )
        )
    head = ["probability of improvement", "", "95% interval", "0 to 1"]
    return table("Probability of improvement", head, body_of(rows))
