"""What is said of single runs: what was left out, how fast they were, and their commands."""

import shlex

import numpy as np

from rljax.analysis.comparison import Comparison, Run
from rljax.analysis.report.markup import Section, body_of, number, row, table, text
from rljax.analysis.report.values import NOTHING, named, seed_numbers


def notes(compared: Comparison) -> Section | None:
    """What was left out, if anything."""
    if not compared.notes:
        return None
    body = "".join(f"<li>{text(note)}.</li>" for note in compared.notes)
    return Section("notes", "What does not count here", "", f"<ul>{body}</ul>")


def speed(compared: Comparison) -> Section:
    """Steps per second, training time and hardware."""
    rows = []
    for group in compared.groups:
        rates, times = zip(*(_pace(run) for run in group.runs), strict=True)
        machines = dict.fromkeys(_machine(run) for run in group.runs)
        rows.append(
            row(
                [
                    named(compared, group),
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
    body = table("Speed", head, body_of(rows))
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
            seeds = f"{'seed' if len(own) == 1 else 'seeds'} {seed_numbers(own)}"
            inner += f'<p class="run">{text(place)}, {seeds}</p><pre>{text(command)}</pre>'
        name = named(compared, group)
        is_open = " open" if len(compared.runs) <= 4 else ""
        parts.append(f"<details{is_open}><summary>{name}</summary>{inner}</details>")
    about = (
        "What was typed to train each run. Should the config file have changed since: the "
        "config.toml in the run's directory holds every value as it was, and trains the run again."
    )
    return Section("commands", "To train these again", about, "".join(parts))
