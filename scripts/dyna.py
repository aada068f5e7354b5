"""What planning is worth to a table: the mazes of Sutton and Barto 2018, chapter 8.

    python scripts/dyna.py --json docs/dyna.json --out docs/images/dyna.png

Three studies, each of them with all seeds in one program:

    maze    figure 8.2: the steps of the first 50 episodes with 0, 5 and 50 imagined steps
    change  figures 8.4 and 8.5: rewards by Dyna-Q and Dyna-Q+ before and after a maze changes
    sizes   example 8.4: the updates that Dyna-Q and prioritized sweeping need in larger mazes

`--json` writes what was measured after each study. `--from` draws a file without measuring again.
"""

import json
import time
from collections import deque
from pathlib import Path

import click
import jax
import jax.numpy as jnp
import numpy as np

import rljax
from rljax.analysis import plots
from rljax.envs.grid_world import GridWorld

ENDLESS = 1_000_000  # the book's episodes have no time limit
EPISODES = 50
PLANNING = (0, 5, 50)
CHANGES = {  # steps before the change, steps in all, imagined steps, kappa
    "BlockingMaze": (1000, 3000, 10, 1e-4),
    "ShortcutMaze": (3000, 6000, 50, 1e-3),
}
ROWS = 60  # of the curves of rewards
FACTORS = (1, 2, 3, 4)  # a cell of the maze becomes as many rows and columns
PLANS_IN_SIZES = 5
NEAR = 1.2  # times the shortest path
MOST_UPDATES = 2_000_000
CHECK = 10  # steps between looks at the path


def agent(name: str, env, planning_steps: int, lr: float, **hparams: float):
    """An agent in one environment, with the exploration of the book."""
    make = getattr(rljax, name)
    hparams = make.Hparams(lr=lr, gamma=0.95, epsilon_start=0.1, epsilon_end=0.1, **hparams)
    return make(env, planning_steps=planning_steps, hparams=hparams)


def keys_of(num_seeds: int):
    """The key of each seed."""
    return jax.vmap(jax.random.key)(jnp.arange(num_seeds))


def episode_lengths(planning_steps: int, num_seeds: int, episodes: int) -> np.ndarray:
    """The steps of the first episodes in the Dyna maze [seeds, episodes]."""
    env = rljax.make("DynaMaze", limit=ENDLESS)
    population = rljax.vmap(agent("dyna_q", env, planning_steps, lr=0.1))
    seeds = jnp.arange(num_seeds)

    def goes_on(loop):
        return jnp.any(loop[1] < episodes)

    def one(loop):
        state, done, lengths = loop
        state, metrics = population.step(state)
        ended = metrics["charts/episodes"] > 0
        place = jnp.where(ended, done, episodes)  # what lies beyond is dropped
        lengths = lengths.at[seeds, place].set(metrics["charts/episodic_length"])
        return state, done + ended, lengths

    @jax.jit
    def run(keys):
        nothing = jnp.zeros(num_seeds, jnp.int32), jnp.zeros((num_seeds, episodes))
        return jax.lax.while_loop(goes_on, one, (population.init(keys), *nothing))[2]

    return np.asarray(run(keys_of(num_seeds)))


def rewards(name: str, maze: str, num_seeds: int, shorter: int) -> np.ndarray:
    """The rewards so far in a maze that changes, at `ROWS` times [seeds, ROWS]."""
    before, total, planning_steps, kappa = CHANGES[maze]
    before, total = before // shorter, total // shorter
    part, hparams = total // ROWS, {"lr": 1.0, "model_memory": 0.0, "kappa": kappa}

    def phase(changed: bool, steps: int):
        env = rljax.make(maze, changed=changed, limit=ENDLESS)
        population = rljax.vmap(agent(name, env, planning_steps, **hparams))

        def one(state, _):
            state, metrics = population.step(state)
            return state, metrics["charts/episodes"]  # an episode pays 1, at its end

        return population, jax.jit(lambda state: jax.lax.scan(one, state, length=steps))

    population, run = phase(False, before)
    state, first = run(population.init(keys_of(num_seeds)))
    _, run = phase(True, total - before)
    _, second = run(state)
    earned = np.concatenate([first, second]).T.cumsum(axis=1)
    return earned[:, part - 1 :: part]


def larger(factor: int) -> GridWorld:
    """The Dyna maze with `factor` rows and columns for each of its own; one cell is the start."""
    cells = np.kron(rljax.make("DynaMaze").cells.view(np.uint32), np.ones((factor, factor)))
    cells = cells.astype(np.uint32).view("<U1")
    starts = np.argwhere(cells == "S")
    cells[tuple(starts[1:].T)] = "."
    return GridWorld("\n".join("".join(row) for row in cells), limit=ENDLESS)


def shortest(env: GridWorld) -> int:
    """The fewest steps from the start to a goal."""
    cells, first = env.cells.ravel(), int(env.starts[0])
    far, waiting = {first: 0}, deque([first])
    while waiting:
        cell = waiting.popleft()
        if cells[cell] == "G":
            return far[cell]
        for after in map(int, env.reached[cell]):
            if after not in far:
                far[after] = far[cell] + 1
                waiting.append(after)
    raise LookupError("no way leads to a goal")


def updates_needed(name: str, factor: int, num_seeds: int) -> np.ndarray:
    """The updates [seeds] until the greedy path is near the shortest; infinite for never."""
    env = larger(factor)
    population = rljax.vmap(agent(name, env, PLANS_IN_SIZES, lr=0.5))
    reached, goal = jnp.asarray(env.reached), jnp.asarray(env.cells.ravel() == "G")
    longest = int(NEAR * shortest(env))

    @jax.vmap
    def arrives(table):
        def walk(_, cell):
            return jnp.where(goal[cell], cell, reached[cell, jnp.argmax(table[cell])])

        return goal[jax.lax.fori_loop(0, longest, walk, jnp.int32(env.starts[0]))]

    def one(state, _):
        state, metrics = population.step(state)
        made = metrics.get("charts/swept_cells", jnp.full(num_seeds, 1.0 + PLANS_IN_SIZES))
        return state, made

    def look(loop):
        state, made, needed = loop
        state, more = jax.lax.scan(one, state, length=CHECK)
        made = made + more.sum(axis=0)
        found = arrives(state.learner.params) & jnp.isinf(needed)
        return state, made, jnp.where(found, made, needed)

    def goes_on(loop):
        state, _, needed = loop
        steps = state.iteration.max() * (1 + PLANS_IN_SIZES)
        return jnp.any(jnp.isinf(needed)) & (steps < MOST_UPDATES)

    @jax.jit
    def run(keys):
        nothing, never = jnp.zeros(num_seeds), jnp.full(num_seeds, jnp.inf)
        return jax.lax.while_loop(goes_on, look, (population.init(keys), nothing, never))[2]

    return np.asarray(run(keys_of(num_seeds)))


def measure(studies, num_seeds: int, shorter: int, found: dict, save) -> dict:
    """What all studies find; `save` is called after each part."""

    def part(study: str, name: str, values: np.ndarray, begun: float) -> None:
        found.setdefault(study, {})[name] = np.round(values, 1).tolist()
        click.echo(f"{study}: {name}, {time.perf_counter() - begun:.0f} s", err=True)
        save(found)

    for number in PLANNING * ("maze" in studies):
        begun = time.perf_counter()
        lengths = episode_lengths(number, num_seeds, EPISODES // shorter)
        part("maze", str(number), lengths, begun)
    for maze in CHANGES if "change" in studies else ():
        for name in ("dyna_q", "dyna_q_plus"):
            begun = time.perf_counter()
            part("change", f"{maze} {name}", rewards(name, maze, num_seeds, shorter), begun)
    for factor in FACTORS[: len(FACTORS) // shorter or 1] * ("sizes" in studies):
        states = int((larger(factor).cells != "#").sum())
        for name in ("dyna_q", "prioritized_sweeping"):
            begun = time.perf_counter()
            part("sizes", f"{states} {name}", updates_needed(name, factor, num_seeds), begun)
    return found


def lines(found: dict) -> list[str]:
    """What was found, in words: means over seeds and, in brackets, standard errors."""

    def of(values) -> str:
        values = np.asarray(values, float)
        return f"{values.mean():.1f} ({values.std(ddof=1) / np.sqrt(len(values)):.1f})"

    said = []
    for number, lengths in found.get("maze", {}).items():
        lengths = np.asarray(lengths)
        later = [
            f"episode {k} {of(lengths[:, k - 1])}" for k in (1, 2, 3, 10) if k <= len(lengths.T)
        ]
        said.append(f"{number} imagined steps: {', '.join(later)}, last {of(lengths[:, -1])}")
    for name, earned in found.get("change", {}).items():
        earned, (before, total, *_) = np.asarray(earned), CHANGES[name.split()[0]]
        at = earned[:, ROWS * before // total - 1]
        said.append(f"{name}: {of(at)} before, {of(earned[:, -1] - at)} after the change")
    for name, needed in found.get("sizes", {}).items():
        said.append(f"{name}: {of(needed)} updates, median {np.median(needed):.0f}")
    return said


def draw(found: dict, out: Path) -> None:
    """A panel for each figure of the book that was measured."""
    from matplotlib.figure import Figure

    panels = ["maze"] * ("maze" in found) + [*CHANGES] * ("change" in found)
    panels += ["sizes"] * (len(found.get("sizes", {})) > 2)  # of one size there is no curve
    figure = Figure(figsize=(3.3 * len(panels), 3.2), layout="constrained")
    for name, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        if name == "maze":
            for number, lengths in found[name].items():
                mean = np.mean(lengths, axis=0)[1:]
                axes.plot(np.arange(2, len(mean) + 2), mean, label=f"{number} imagined steps")
            axes.set(title="DynaMaze", xlabel="episode", ylabel="steps", ylim=(0, 800))
        elif name == "sizes":
            for kind in ("dyna_q", "prioritized_sweeping"):
                rows = [key for key in found[name] if key.endswith(f" {kind}")]
                medians = [np.median(found[name][row]) for row in rows]
                axes.loglog([int(row.split()[0]) for row in rows], medians, "o-", label=kind)
            axes.set(title="larger mazes", xlabel="states", ylabel="updates, median")
        else:
            before, total, *_ = CHANGES[name]
            for kind in ("dyna_q", "dyna_q_plus"):
                earned = np.mean(found["change"][f"{name} {kind}"], axis=0)
                axes.plot(np.linspace(total / ROWS, total, len(earned)), earned, label=kind)
            axes.axvline(before, color="grey", linestyle=":")
            axes.set(title=name, xlabel="steps", ylabel="rewards so far")
        axes.legend(frameon=False, fontsize=8)
    plots.save(figure, out)


@click.command(help=__doc__.splitlines()[0])
@click.option("--study", "studies", multiple=True, default=("maze", "change", "sizes"))
@click.option("--num-seeds", default=30, show_default=True, help="Trained in one program.")
@click.option("--shorter", default=1, show_default=True, help="Divides what is long.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Written with the figures.")
@click.option("--from", "given", type=click.Path(path_type=Path), help="Figures to draw.")
@click.option("--out", type=click.Path(path_type=Path), help="The .png file of the plot.")
def main(studies, num_seeds, shorter, file, given, out):
    """Measure or read, then print and plot."""
    found = json.loads(given.read_text()) if given else {}

    def save(found: dict) -> None:
        if file:
            file.write_text(json.dumps(found) + "\n")

    if not given:
        measure(studies, num_seeds, shorter, found, save)
    for line in lines(found):
        click.echo(line)
    if out:
        draw(found, out)


if __name__ == "__main__":
    main()
