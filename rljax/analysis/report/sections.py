"""What a report says about runs: one function for each section, each a `Section` or None."""

import base64
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rljax import statistics
from rljax.analysis import plots
from rljax.analysis.comparison import Comparison, Group, Run, Seed, shown
from rljax.analysis.plots import counted
from rljax.analysis.report.markup import Section, chart, key, number, range_, row, table, text
from rljax.errors import RunError, UsageError
from rljax.statistics import FEWEST_FOR_INTERVAL, central, central_name

MOST_FILMS, MOST_FRAMES, MOST_FILM_BYTES = 4, 300, 2_500_000
NOTHING = "–"


def notes(compared: Comparison) -> Section | None:
    """What was left out, if anything."""
    if not compared.notes:
        return None
    body = "".join(f"<li>{text(note)}.</li>" for note in compared.notes)
    return Section("notes", "What does not count here", "", f"<ul>{body}</ul>")


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
        "y": _plain(central(scores)),
        **_bounds(statistics.interval(central, scores)),
    }
    if len(seeds) > 1:
        line["seeds"] = [seed.seed for seed in seeds]
        line["each"] = [_plain(one) for one in scores[..., 0].T]
    return line


def _bounds(interval: tuple[np.ndarray, np.ndarray] | None) -> dict[str, list[float]]:
    """The band of a line, if it has one."""
    return {} if interval is None else {"low": _plain(interval[0]), "high": _plain(interval[1])}


def _central_in_words(compared: Comparison) -> str:
    """What `statistics.central` is of the groups."""
    names = {central_name(len(group.seeds)) for group in compared.groups}
    if len(names) == 1:
        return f"the {names.pop()} over seeds"
    return f"the mean over seeds, from {statistics.FEWEST_FOR_IQM} seeds on their IQM,"


def _plain(values: np.ndarray) -> list[float]:
    """Numbers with six significant digits."""
    return [float(f"{value:.6g}") for value in values]


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

    def profile(drawn: np.ndarray) -> np.ndarray:
        return statistics.performance_profile(drawn, thresholds)

    lines = []
    for label, own in scores.items():
        line = {"label": label, "method": compared.labels.index(label), "x": _plain(thresholds)}
        line |= {"y": _plain(profile(own)), "told": counted(len(own))}
        lines.append(line | _bounds(statistics.interval(profile, own)))
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
    return table("Probability of improvement", head, _body(rows))


def settings(compared: Comparison) -> Section:
    """The hyperparameters: what differs between groups, and what does not."""
    values = [{**g.runs[0].method, "seeds": _seeds(g.seeds)} for g in compared.groups]
    names = list(dict.fromkeys(name for own in values for name in own))
    differing = [n for n in names if any(own.get(n) != values[0].get(n) for own in values)]
    differing.sort(key=lambda n: not all(n in own for own in values))  # Others' keys stand last.
    same = [row([text(n), text(_setting(values[0].get(n)))]) for n in names if n not in differing]
    alike = table("Hyperparameters", ["key", "value"], _body(same), "settings")
    about = "As resolved when the runs began."
    if len(values) == 1:
        return Section("settings", "Hyperparameters", about, alike)
    body = ""
    if differing:
        cells = [[_marked(own.get(n), values[0].get(n)) for own in values] for n in differing]
        keys, groups = [text(n) for n in differing], [_named(compared, g) for g in compared.groups]
        if len(groups) > len(keys):  # A page has more room downwards.
            cells = [list(column) for column in zip(*cells, strict=True)]
            keys, groups = groups, keys
        rows = [row([name, *own]) for name, own in zip(keys, cells, strict=True)]
        body = table("What differs", ["", *groups], _body(rows), "settings")
        about += " What differs from the method named first is marked."
    told = f"{len(same)} keys that are the same in all"
    body += f"<details><summary>{told}</summary>{alike}</details>"
    return Section("settings", "Hyperparameters", about, body)


def _marked(value: Any, first: Any) -> str:
    """A cell, marked where it is not what the first one is."""
    differs = ' class="differs"' if value != first else ""
    return f"<td{differs}>{text(_setting(value))}</td>"


def _named(compared: Comparison, group: Group) -> str:
    """The name of a group, with the environment where there are several."""
    on = f" on {text(group.env)}" if len(compared.environments) > 1 else ""
    return f"{key(compared.labels.index(group.label))}{text(group.label)}{on}"


def _body(rows: list[str]) -> str:
    return f"<tbody>{''.join(rows)}</tbody>"


def _setting(value: Any) -> str:
    return NOTHING if value is None else shown(value)


def _seeds(seeds: tuple[Seed, ...]) -> str:
    """Seed numbers, those in a row as one range: 0-3, 8."""
    parts: list[list[int]] = []
    for number_ in sorted(seed.seed for seed in seeds):
        if parts and number_ == parts[-1][-1] + 1:
            parts[-1].append(number_)
        else:
            parts.append([number_])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def films(compared: Comparison) -> Section | None:
    """An episode on each environment, of the best method there and its middle seed."""
    from rljax.analysis import render

    pictures: list[str] = []
    left_out: list[str] = []
    size = 0
    for name, groups in compared.environments.items():
        playable = [g for g in groups if any(r.directory.checkpoints.is_dir() for r in g.runs)]
        if name not in render.drawable() or not playable:
            continue
        best = max(playable, key=lambda g: float(central(g.returns[-1][:, None])))
        try:
            film = _film(best) if len(pictures) < MOST_FILMS else None
        except RunError as error:
            left_out.append(f"{name} cannot be shown: {error}.")
            continue
        if film is None or size + len(film.gif) > MOST_FILM_BYTES:
            left_out.append(f"{name} is left out to keep this file small.")
            continue
        size += len(film.gif)
        pictures.append(_picture(name, best, film))
    if not pictures and not left_out:
        return None
    about = (
        "On each environment the method with the highest score, and of its seeds the one in the "
        f"middle; the likeliest actions, and at most {MOST_FRAMES} steps. " + " ".join(left_out)
    )
    body = f'<div class="films">{"".join(pictures)}</div>'
    return Section("films", "The agent at play", about.strip(), body)


class _Film(NamedTuple):
    """An episode in files, and what is in it."""

    gif: bytes
    still: bytes  # PNG of its last frame
    seed: int
    steps: int
    total: float  # its return


def _film(group: Group) -> _Film:
    from PIL import Image

    from rljax.analysis import episode, render

    ranked = [group.seeds[k] for k in np.argsort(group.returns[-1], kind="stable")]
    ranked = [seed for seed in ranked if seed.run.directory.checkpoints.is_dir()]
    chosen = ranked[len(ranked) // 2]
    film = episode.film(chosen.run.directory, chosen.column, 0, MOST_FRAMES)
    with tempfile.TemporaryDirectory() as place:
        gif, still = Path(place, "play.gif"), Path(place, "still.png")
        render.save_gif(film.frames, gif, film.pace)
        Image.fromarray(film.frames[-1]).quantize().save(still, optimize=True)
        files = gif.read_bytes(), still.read_bytes()
    return _Film(*files, chosen.seed, len(film.frames), film.total)


def _picture(name: str, group: Group, film: _Film) -> str:
    told = f"{group.label}, seed {film.seed}: {film.steps} steps, return {number(film.total)}"
    moving, still = (
        f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
        for kind, file in (("gif", film.gif), ("png", film.still))
    )
    return (
        f"<figure><figcaption>{text(name)} <span>{text(told)}</span></figcaption><picture>"
        f'<source media="(prefers-reduced-motion: reduce), print" srcset="{still}">'
        f'<img src="{moving}" width="480" height="320" alt="{text(name)}, played by {text(told)}">'
        f"</picture></figure>"
    )


def speed(compared: Comparison) -> Section:
    """Steps per second, training time and hardware."""
    rows = []
    for group in compared.groups:
        rates, times = zip(*(_pace(run) for run in group.runs), strict=True)
        machines = dict.fromkeys(_machine(run) for run in group.runs)
        rows.append(
            row(
                [
                    _named(compared, group),
                    str(len(group.runs)),
                    number(float(np.median(rates))),
                    _duration(float(np.median(times))),
                    f'<td class="text">{"; ".join(map(text, machines))}</td>',
                ]
            )
        )
    head = [
        "method",
        "runs",
        "steps/s",
        "training time",
        '<th scope="col" class="text">hardware</th>',
    ]
    about = (
        "Environment steps per second, all seeds of a run together: the median over its rows. "
        "Training time is that of the steps alone, without compiling and evaluating. Where there "
        "are several runs, both are the median run's."
    )
    body = table("Speed", head, _body(rows))
    return Section("speed", "Speed", about, body)


def _pace(run: Run) -> tuple[float, float]:
    """Median environment steps per second of a run, and the seconds that its steps took."""
    steps, rate = run.clock()
    taken = np.diff(steps, prepend=0) * len(run.seeds)
    return float(np.median(rate)), float(np.sum(taken / rate))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _machine(run: Run) -> str:
    """Devices, cores and versions, as the run found them."""
    found = run.directory.read_system()
    if not found:
        return NOTHING
    devices = [str(device) for device in found.get("devices", ())]
    counted_ = [f"{devices.count(d)} x {d}" for d in dict.fromkeys(devices)]
    parts = [*counted_, f"{found.get('cores')} cores", f"Python {found.get('python')}"]
    packages = found.get("packages") or {}
    return ", ".join([*parts, *(f"{n} {packages[n]}" for n in ("jax",) if packages.get(n))])


def reproduction(compared: Comparison) -> Section:
    """The command of each run."""
    parts = []
    for group in compared.groups:
        inner = ""
        for run in group.runs:
            place = run.directory.path
            command = (
                run.directory.read_command() or f"rljax train {shlex.quote(str(place))}/config.toml"
            )
            own = tuple(seed for seed in group.seeds if seed.run is run)
            seeds = f"{'seed' if len(own) == 1 else 'seeds'} {_seeds(own)}"
            inner += f'<p class="run">{text(place)}, {seeds}</p><pre>{text(command)}</pre>'
        name = _named(compared, group)
        is_open = " open" if len(compared.runs) <= 4 else ""
        parts.append(f"<details{is_open}><summary>{name}</summary>{inner}</details>")
    about = (
        "What was typed to train each run. Should the config file have changed since: the "
        "config.toml in the run's directory holds every value as it was, and trains the run again."
    )
    return Section("commands", "To train these again", about, "".join(parts))


def reading(compared: Comparison) -> Section:
    """What the numbers mean."""
    terms = {
        "Seed": "One training from its own random numbers. All statistics are over seeds, never "
        "over episodes or over rows of one training.",
        "Evaluation": "A fixed number of full episodes under the policy as it was, each in an "
        "environment of its own. Returns of episodes that happened to end while training lean "
        "towards short ones, and are not used.",
        "Interquartile mean (IQM)": "The mean of the middle half of the seeds, those of all "
        "environments together. A single lucky or failed seed moves it less than the mean, and it "
        "wastes less than the median. It does not know the worst seeds, one of four and two of "
        f"eight, so with fewer than {statistics.FEWEST_FOR_IQM} seeds the mean stands for them.",
        "95% interval": "A percentile bootstrap, stratified: seeds are drawn with replacement "
        f"within each environment, {statistics.RESAMPLES:,} times. Of fewer than about ten seeds "
        f"such intervals are too narrow, and of fewer than {FEWEST_FOR_INTERVAL} there is none.",
        "Performance profile": "For every return, the fraction of seeds that got above it. A "
        "method whose profile is nowhere below another's is at least as good at every level.",
        "Probability of improvement": "How likely a seed of the one method has a higher return "
        "than a seed of the other; ties count half. 0.5 is no difference, and an interval that "
        "contains 0.5 shows none.",
    }
    if any(group.success is not None for group in compared.groups):
        terms["Success"] = (
            "The fraction of episodes that ended at the environment's goal: the flag of a mountain "
            "car, the height of the acrobot, the goal cell of a grid."
        )
    items = "".join(f"<dt>{text(term)}</dt><dd>{text(said)}</dd>" for term, said in terms.items())
    source = (
        '<p class="about">Statistics as in Agarwal et al. 2021, <cite>Deep Reinforcement Learning '
        "at the Edge of the Statistical Precipice</cite>, "
        '<a href="https://arxiv.org/abs/2108.13264">arXiv:2108.13264</a>.</p>'
    )
    return Section("reading", "How to read this", "", f"<dl>{items}</dl>{source}")


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
