"""The table of the last evaluations."""

from collections.abc import Sequence

import numpy as np

from rljax import statistics
from rljax.analysis.comparison import Comparison
from rljax.analysis.report.markup import Section, key, number, range_, row, table, text
from rljax.analysis.report.values import NOTHING
from rljax.statistics import FEWEST_FOR_INTERVAL, central, central_name


def results(compared: Comparison) -> Section:
    """The last evaluation of each group."""
    succeeds = any(group.success is not None for group in compared.groups)
    few = any(1 < len(group.seeds) < FEWEST_FOR_INTERVAL for group in compared.groups)
    spread = "95% interval, or seeds" if few else "95% interval"
    head = ["method", "seeds", "mean", "IQM", spread, "", "worst seed"]
    head += [*(["success"] if succeeds else []), "episodes", "environment steps"]
    body = ""
    for name, groups in compared.environments.items():
        last = np.concatenate([group.returns[-1] for group in groups])
        body += f'<tbody><tr><th class="place" colspan="{len(head)}">{text(name)}</th></tr>'
        for group in groups:
            method, count = compared.labels.index(group.label), len(group.seeds)
            returns = group.returns[-1]
            scores = returns[:, None]
            bounds = statistics.interval(central, scores)
            ends = np.sort(returns) if bounds is None else np.array(bounds)
            said = (", " if bounds is None else " to ").join(map(number, ends))
            middle, *places = _places([float(central(scores)), *ends], last)
            band, dots = ([], places) if bounds is None else (places, [])
            cells = [
                key(method) + text(group.label),
                str(count),
                *(_estimate(name_, scores) for name_ in statistics.STATISTICS),
                said if count > 1 else NOTHING,
                range_(middle, method, band, dots),
                number(returns.min()),
            ]
            if succeeds:
                rate = None if group.success is None else group.success[-1].mean()
                cells.append(NOTHING if rate is None else f"{rate:.1%}")
            episodes = count * group.runs[0].config.evaluation.episodes
            body += row([*cells, f"{episodes:,}", f"{group.steps[-1]:,}"])
        body += "</tbody>"
    about = (
        "Mean return of each seed over the full episodes of its last evaluation; over seeds their "
        "mean, interquartile mean (IQM) and worst. In bold what stands for the seeds: the mean of "
        f"fewer than {statistics.FEWEST_FOR_IQM}, the IQM of as many or more. The 95% bootstrap "
        f"interval is of that; of fewer than {FEWEST_FOR_INTERVAL} seeds there is none."
    )
    return Section("results", "Results", about, table("Results", head, body))


def _places(values: Sequence[float], among: np.ndarray) -> list[float]:
    """Where values lie from the lowest, 0, to the highest, 1, of some numbers."""
    low, span = float(among.min()), float(np.ptp(among))
    return [(value - low) / span if span else 0.5 for value in values]


def _estimate(name: str, scores: np.ndarray) -> str:
    """One of `statistics.STATISTICS`, in bold where it is what stands for scores [N, 1]."""
    value = number(float(statistics.STATISTICS[name](scores)))
    return f"<strong>{value}</strong>" if name == central_name(len(scores)) else value
