"""Run the published results again, row by row, and compare them with what is published.

    python scripts/reproduce.py --only ppo/cartpole --only a2c/cartpole

Each config is a row, and its command is

    rljax train configs/CONFIG.toml --num-seeds N --seed 100 --run-dir OUT/CONFIG

A run that was begun is resumed, and one that is complete is only read, so the script can be killed
and started again. The seed is the unit of all figures: its score is its mean return over the
episodes of the last evaluation. `docs/results.json` has the published rows. With `--write`, what
was measured takes their place, there and in the tables of the README and docs/published_results.md.

A row is OUTSIDE if its mean and the published one differ by more than two samples of seeds do. Both
have a sampling error, so a fresh mean need not lie in the published interval. Student's t test at
99% judges the difference: had nothing changed, both would be samples of one distribution, so their
variance is pooled, and a few seeds can be held to sixteen; a bootstrap of five would be too narrow.
Seeds that agree leave no spread to judge by, so 1% of the largest return is always allowed.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from agent_pages import config_files, table
from scipy.stats import ttest_ind_from_stats

from rljax import envs, statistics
from rljax.errors import RunError, UsageError, nearest
from rljax.experiments import config, directory
from rljax.experiments.config import Config
from rljax.experiments.directory import RunDirectory, write_atomically
from rljax.experiments.machine import processor

ROOT = Path(__file__).parent.parent
BEST_KNOWN = (
    "ppo/cartpole",
    "dqn/cartpole",
    "rainbow/cartpole",
    "ppo/pendulum",
    "sac/pendulum",
    "ppo/breakout",
    "q_learning/frozen_lake",
)
PAGES = {"docs/published_results.md": None, "README.md": BEST_KNOWN}
"""The pages with a table of results, and the configs in it; None for all."""
REGION = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
FIRST_SEED = 100  # of seeds that nobody tuned on
SIGNIFICANCE, TOLERANCE = 0.01, 0.01
COLUMNS = (
    "environment",
    "config",
    "env steps",
    "seeds",
    "mean",
    "95% interval",
    "IQM",
    "worst seed",
)
Row = dict[str, Any]  # as it is in docs/results.json


def names() -> list[str]:
    """All configs of environments in JAX, such as "ppo/cartpole": their seeds train together."""
    return [
        f"{path.parent.name}/{path.stem}"
        for path in config_files(root=ROOT)
        if envs.suite(config.load(path).top.env) is None
    ]


def settings(name: str, seeds: int | None = None, first_seed: int = FIRST_SEED) -> Config:
    """The config of a row; by default with 5 seeds of a MinAtar game, and 16 of all others."""
    path = ROOT / "configs" / f"{name}.toml"
    seeds = seeds or (5 if config.load(path).top.env.endswith("-MinAtar") else 16)
    flags = {"num_seeds": str(seeds), "seed": str(first_seed), "logging.plot": "false"}
    return config.load(path, flags)


def command(name: str, chosen: Config, path: Path) -> list[str]:
    """What begins the run of a row, or goes on with it."""
    if directory.is_run(path):
        return ["resume", str(path)]
    seeds = ["--num-seeds", str(chosen.top.num_seeds), "--seed", str(chosen.top.seed)]
    plot = ["--logging.plot", "false"]
    return ["train", f"configs/{name}.toml", *seeds, "--run-dir", str(path), *plot]


def execute(words: Sequence[str], log: Path) -> None:
    """Run `rljax` in a process of its own; what it prints is appended to `log`."""
    click.echo(f"rljax {shlex.join(words)}", err=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        done = subprocess.run(
            [sys.executable, "-m", "rljax", *words], cwd=ROOT, stdout=file, stderr=file
        )
    if done.returncode:
        raise RunError(f"`rljax {shlex.join(words)}` ended with {done.returncode}: see {log}")


def measure(name: str, chosen: Config, out: Path) -> Row:
    """The row of a config, trained as far as that is left to do.

    Raises RunError if its directory holds a run with other settings, or its command fails.
    """
    run = RunDirectory(out / name)
    if directory.is_run(run.path):
        found = config.differences(run.load_config(), chosen)
        if other := [key for key in found if not key.startswith(("logging.", "checkpoint."))]:
            raise RunError(f"{run.path} was trained with another {other[0]}: choose another --out")
    if not run.evaluation.is_file():
        execute(command(name, chosen, run.path), run.path.with_suffix(".log"))
    episodes = np.array(json.loads(run.evaluation.read_text())["returns"])
    system = run.read_system()
    return {
        "environment": chosen.top.env,
        "config": name,
        "env_steps": chosen.top.total_env_steps,
        "first_seed": chosen.top.seed,
        "num_seeds": chosen.top.num_seeds,
        "episodes": episodes.shape[1],
        "returns": episodes.mean(axis=1).tolist(),
        **summary(episodes.mean(axis=1)),
        "hardware": hardware(system),
        "python": system["python"],
        **{package: system["packages"][package] for package in ("jax", "gymnax")},
    }


def summary(returns: Sequence[float] | np.ndarray) -> Row:
    """The statistics of a row over its seeds' returns [N]; no interval of fewer than 5."""
    scores = np.reshape(returns, (-1, 1))
    bounds = statistics.interval(statistics.mean, scores)
    return {
        "mean": float(statistics.mean(scores)),
        "interval": bounds and [float(bound) for bound in bounds],
        "iqm": float(statistics.interquartile_mean(scores)),
        "worst": float(scores.min()),
    }


def hardware(system: dict[str, Any]) -> str:
    """The accelerator of a run; or this machine's processor, and the cores that the run found."""
    platform, _, kind = system["devices"][0].partition(": ")
    return kind if platform != "cpu" else f"{system['cores']} cores of {processor()}"


def outside(row: Row, published: Row) -> bool:
    """Whether two means over seeds differ by more than chance; the module says how that is told."""
    ours, theirs = (np.array(r["returns"]) for r in (row, published))
    if abs(ours.mean() - theirs.mean()) <= TOLERANCE * np.abs([*ours, *theirs]).max():
        return False
    samples = [(x.mean(), x.std(ddof=1), len(x)) for x in (ours, theirs)]
    if not any(spread for _, spread, _ in samples):
        return True
    return bool(ttest_ind_from_stats(*samples[0], *samples[1]).pvalue < SIGNIFICANCE)


def verdict(row: Row, published: Row | None) -> str:
    """What the comparison says, in a word."""
    if published is None:
        return "not published"
    return "OUTSIDE" if outside(row, published) else "ok"


def number(value: float, row: Row) -> str:
    """A return, with as many digits as the size of the row's returns asks for."""
    return f"{value:.1f}" if np.abs(row["returns"]).max() >= 10 else f"{value:.3f}"


def interval(row: Row) -> str:
    """The interval of the mean, or a dash."""
    return " to ".join(number(bound, row) for bound in row["interval"] or ()) or "-"


def steps(count: int) -> str:
    """A number of steps, such as 150k or 4M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if count % unit == 0:
            return f"{count // unit}{name}"
    return f"{count:,}"


def cells(row: Row) -> list[str]:
    """A row of the table."""
    numbers = [number(row[key], row) for key in ("mean", "iqm", "worst")]
    return [
        row["environment"],
        f"`{row['config']}`",
        steps(row["env_steps"]),
        str(row["num_seeds"]),
        numbers[0],
        interval(row),
        *numbers[1:],
    ]


def compared(rows: Iterable[Row], published: dict[str, Row]) -> str:
    """The table of what was measured, beside what is published."""
    lines = []
    for row in rows:
        other = published.get(row["config"])
        beside = [number(other["mean"], other), interval(other)] if other else ["-", "-"]
        lines.append([*cells(row), *beside, verdict(row, other)])
    return table([*COLUMNS, "published mean", "published interval", ""], lines)


def measured_on(rows: Iterable[Row]) -> str:
    """A sentence for each machine and its versions; with several, the configs measured there.

    The machine of most rows comes last, and has all that the others do not.
    """
    places: dict[str, list[str]] = {}
    for row in rows:
        versions = f"Python {row['python']}, jax {row['jax']}, gymnax {row['gymnax']}"
        places.setdefault(f"{row['hardware']}, {versions}", []).append(f"`{row['config']}`")
    if len(places) < 2:
        return "".join(f"Measured on {place}.\n" for place in places)
    most = max(places, key=lambda place: len(places[place]))
    fewer = ((place, configs) for place, configs in places.items() if place != most)
    named = "".join(f"- {place}: {', '.join(configs)}\n" for place, configs in fewer)
    return f"{named}- {most}: all others\n"


def shown(page: str, rows: Iterable[Row]) -> list[Row]:
    """Those of the rows that the table of a page shows."""
    configs = PAGES[page]
    return [row for row in rows if configs is None or row["config"] in configs]


def filled(page: str, rows: Sequence[Row]) -> str:
    """The text of a page with a table of the rows between its two comments."""
    body = f"\n{table(COLUMNS, map(cells, rows))}\n{measured_on(rows)}\n" if rows else ""
    return REGION.sub(lambda found: f"{found[1]}{body}{found[2]}", page)


def read() -> dict[str, Row]:
    """The published rows by their config."""
    rows = json.loads((ROOT / "docs/results.json").read_text())["rows"]
    return {row["config"]: row for row in rows}


def publish(rows: Iterable[Row]) -> None:
    """Put rows in the place of the published ones of the same configs, in JSON and in the pages."""
    known = read() | {row["config"]: row for row in rows}
    ordered = sorted(known.values(), key=lambda row: (row["environment"], row["config"]))
    write_atomically(
        ROOT / "docs/results.json", json.dumps({"rows": ordered}, indent=1, allow_nan=False) + "\n"
    )
    for page in PAGES:
        path = ROOT / page
        write_atomically(path, filled(path.read_text(), shown(page, ordered)))


@click.command(help=__doc__.splitlines()[0])
@click.option("--out", default="runs/reproduce", show_default=True, type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="CONFIG", help="Such as ppo/cartpole; repeatable.")
@click.option("--processes", default=1, show_default=True, help="How many rows train at once.")
@click.option("--seeds", type=click.IntRange(min=2), help="Instead of 5 for MinAtar, 16 else.")
@click.option("--first-seed", default=FIRST_SEED, show_default=True, help="The others count up.")
@click.option("--write", is_flag=True, help="Publish what was measured: JSON and pages.")
def main(out, only, processes, seeds, first_seed, write):
    """Measure the rows, and print the table; exit code 1 if one is outside, or failed."""
    known, published = names(), read()
    for name in only:
        if name not in known:
            raise click.BadParameter(f"{name!r} is no config{nearest(name, known)}")
    chosen = {name: settings(name, seeds, first_seed) for name in only or known}
    out, rows, failed = out.resolve(), [], False
    with ThreadPoolExecutor(processes) as pool:
        waiting = [pool.submit(measure, name, chosen[name], out) for name in chosen]
        try:
            for name, future in zip(chosen, waiting, strict=True):
                try:
                    rows.append(future.result())
                    click.echo(f"{name}: {verdict(rows[-1], published.get(name))}", err=True)
                except (RunError, UsageError) as error:
                    failed = True
                    click.echo(f"{name}: FAILED: {error}", err=True)
        finally:  # An interrupt ends the rows that train, and none begins after it.
            pool.shutdown(cancel_futures=True)
    rows.sort(key=lambda row: (row["environment"], row["config"]))
    click.echo(compared(rows, published), nl=False)
    if write:
        publish(rows)
    strayed = [r for r in rows if verdict(r, published.get(r["config"])) == "OUTSIDE"]
    sys.exit(1 if failed or (strayed and not write) else 0)


if __name__ == "__main__":
    main()
