"""What V-trace is worth: IMPALA with actors that lag behind, with the correction and without.

    python scripts/plot_policy_lag.py --env CartPole-v1 --lag 1 --lag 4 --lag 16 --out lag.png

All seeds of a lag and a correction train in one program. The seed is the unit: its score is its
mean return in full episodes with greedy actions. The picture has a panel for each lag; lines are
the interquartile mean over seeds (the mean of fewer than 8), and bands its 95% bootstrap interval.
The table is of the last evaluation.
"""

import time
from pathlib import Path

import click
import jax
import numpy as np
from agent_pages import table
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

import rljax
from rljax import statistics
from rljax.analysis import plots
from rljax.training.evaluation import episodes

CORRECTIONS = {"vtrace": "with V-trace", "none": "without"}
EVALUATIONS = 10
COLUMNS = ("agent", "lag", "correction", "seeds", "IQM", "95% interval", "mean", "worst seed")


def train(agent, num_seeds: int, num_episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps [K] of each evaluation, and the scores of the seeds there [K, N]."""
    population = rljax.vmap(agent)
    play = episodes(population, num_episodes=num_episodes)

    def evaluate(state, row):
        return {"return": play(state, jax.random.key(row["iteration"])).returns.mean(axis=1)}

    keys = jax.random.split(jax.random.key(0), num_seeds)
    part = -(-agent.num_iterations // EVALUATIONS)
    _, history = rljax.train(population, keys, hooks=[evaluate], chunk_iterations=part)
    return history["env_steps"], history["return"]


def cells(agent: str, lag: int, correction: str, scores: np.ndarray) -> list[str]:
    """A row of the table, of scores [N]."""
    of_seeds = scores[:, None]
    bounds = statistics.interval(statistics.interquartile_mean, of_seeds)
    numbers = statistics.interquartile_mean(of_seeds), statistics.mean(of_seeds), scores.min()
    iqm, mean, worst = (f"{x:.1f}" for x in numbers)
    interval = "-" if bounds is None else " to ".join(f"{x:.1f}" for x in bounds)
    words = "V-trace" if correction == "vtrace" else "none"
    return [f"`{agent}`", str(lag), words, str(len(scores)), iqm, interval, mean, worst]


def draw_curve(axes, steps: np.ndarray, scores: np.ndarray, look: dict) -> None:
    """The curve of scores [K, N], and its interval."""
    of_seeds = scores[..., None]
    axes.plot(steps, statistics.central(of_seeds), **look)
    bounds = statistics.interval(statistics.central, of_seeds)
    if bounds is not None:
        axes.fill_between(steps, *bounds, color=look["color"], alpha=0.2, linewidth=0)


@click.command(help=__doc__.splitlines()[0])
@click.option("--env", default="CartPole-v1", show_default=True)
@click.option("--agent", default="impala", type=click.Choice(["impala", "appo"]), show_default=True)
@click.option("--lag", "lags", multiple=True, default=(1, 4, 16), show_default=True)
@click.option("--num-seeds", default=8, show_default=True, help="Trained in one program.")
@click.option("--total-env-steps", default=500_000, show_default=True, help="Of each seed.")
@click.option("--num-episodes", default=16, show_default=True, help="Of each evaluation of a seed.")
@click.option("--num-envs", type=int, help="By default that of the agent.")
@click.option("--lr", type=float, help="By default that of the agent.")
@click.option("--out", default="lag.png", show_default=True, type=click.Path(path_type=Path))
def main(env, agent, lags, num_seeds, total_env_steps, num_episodes, num_envs, lr, out):
    """Train each lag with and without the correction; print the table and draw the picture."""
    make = getattr(rljax, agent)
    structure = {"total_env_steps": total_env_steps}
    structure |= {} if num_envs is None else {"num_envs": num_envs}
    hparams = make.Hparams() if lr is None else make.Hparams(lr=lr)
    figure = Figure(figsize=(3.2 * len(lags), 3), layout="constrained")
    panels = figure.subplots(1, len(lags), sharey=True, squeeze=False)[0]
    rows = []
    for axes, lag in zip(panels, lags, strict=True):
        axes.set(title=f"lag {lag}", xlabel="environment steps")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        for (correction, label), color in zip(CORRECTIONS.items(), plots.COLOURS, strict=False):
            begun = time.perf_counter()
            lagging = make(
                rljax.make(env),
                policy_lag=lag,
                correction=correction,
                hparams=hparams,
                **structure,
            )
            steps, scores = train(lagging, num_seeds, num_episodes)
            rows.append(cells(agent, lag, correction, scores[-1]))
            seconds = time.perf_counter() - begun
            click.echo(f"lag {lag}, {label}: {scores[-1].mean():.1f}, {seconds:.0f} s", err=True)
            draw_curve(axes, steps, scores, {"color": color, "label": label})
    panels[0].set_ylabel(f"return, {plots.estimate(num_seeds)}")
    panels[0].legend(frameon=False)
    plots.save(figure, out)
    click.echo(table(COLUMNS, rows), nl=False)


if __name__ == "__main__":
    main()
