"""What a parameter server changes in Q-learning: asynchronous beside synchronous, same env steps.

    python benchmarks/studies/asynchronous_q.py --seeds 5

One-step Q-learning with a network is algorithm 1 of Mnih et al. 2016, n-step Q-learning algorithm
S2 (https://arxiv.org/abs/1602.01783), both as `configs/pqn/gymnasium_cartpole.toml` says but for
`q_lambda`: so without a target network, and with layer normalisation. The table learns as
`configs/q_learning/gymnasium_frozen_lake.toml` says. "Synchronous" is the same config with
`parameter_server = false`: one update by the experience of all environments. With A actors there
are A updates, each by a share of it. A seed's score is its mean return in 64 greedy episodes.
"""

from pathlib import Path

import click
import jax
import numpy as np

import rljax
from rljax import statistics
from rljax.experiments import config, experiment

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK, TABLE = "pqn/gymnasium_cartpole", "q_learning/gymnasium_frozen_lake"
ALGORITHMS: dict[str, tuple[str, dict[str, str]]] = {
    "one-step": (NETWORK, {"hparams.q_lambda": "0"}),
    "n-step": (NETWORK, {"hparams.q_lambda": "1"}),
    "table": (TABLE, {}),
}
FIRST_SEED = 100


def flags_of(actors: int) -> dict[str, str]:
    """Those of a parameter server with so many actors; of the synchronous way for 0."""
    return {"actors": str(max(1, actors)), "parameter_server": str(actors > 0).lower()}


def score(name: str, flags: dict[str, str]) -> tuple[float, float]:
    """What one seed of a config comes to, and its mean policy lag."""
    settings = config.load(CONFIGS / f"{name}.toml", flags)
    agent = experiment.build(settings)
    state, history = rljax.train(agent, experiment.keys(settings))
    found = rljax.evaluate(agent, state, jax.random.key(1), 64)
    return float(np.mean(found.returns)), float(np.mean(history["charts/policy_lag"]))


@click.command(help=__doc__.splitlines()[0])
@click.option("--algorithm", "names", multiple=True, default=tuple(ALGORITHMS), show_default=True)
@click.option("--actors", "counts", multiple=True, type=int, default=(0, 2, 8), show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--total-env-steps", type=int, help="By default those of the config.")
def main(names, counts, seeds, total_env_steps) -> None:
    """Train each algorithm with each number of actors, 0 for synchronous; print the table."""
    longer = {} if total_env_steps is None else {"total_env_steps": str(total_env_steps)}
    print("| algorithm | updates | lag | seeds | mean | IQM | worst seed |")
    print(f"|{'---|' * 7}")
    for name in names:
        path, changes = ALGORITHMS[name]
        for actors in counts:
            flags = {**changes, **flags_of(actors), **longer}
            runs = [score(path, {**flags, "seed": str(FIRST_SEED + i)}) for i in range(seeds)]
            scores, lags = (np.array(x)[:, None] for x in zip(*runs, strict=True))
            how = f"{actors} actors" if actors else "synchronous"
            iqm, mean = statistics.interquartile_mean(scores), statistics.mean(scores)
            numbers = f"{float(mean):.3g} | {float(iqm):.3g} | {scores.min():.3g}"
            print(f"| {name} | {how} | {lags.mean():.1f} | {seeds} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
