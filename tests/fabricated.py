"""Run directories written by hand: what a training run would have left, without the training."""

import json
from pathlib import Path

import numpy as np

from rljax.experiments import config
from rljax.experiments.directory import RunDirectory


def write_run(path, returns, steps=None, success=None, command="rljax train ppo.toml", **flags):
    """A run with evaluations `returns` [K, seeds] at `steps` [K], and `success` rates like them."""
    path = Path(path)
    path.mkdir(parents=True)
    returns = np.asarray(returns, float)
    count = returns.shape[1]
    steps = np.arange(1, len(returns) + 1) * 1000 if steps is None else np.asarray(steps)
    given = {"env": "CartPole-v1", "num_seeds": count}
    given |= {"total_env_steps": int(steps[-1]) if len(steps) else 1000}
    given |= {key.replace("__", "."): value for key, value in flags.items()}
    run = RunDirectory(path)
    run.write_config(config.resolve(given, {}))
    (path / "command.txt").write_text(command + "\n")
    system = {"python": "3.11.9", "platform": "Linux", "cores": 2, "devices": ["cpu: cpu"]}
    (path / "system.json").write_text(json.dumps(system | {"packages": {"jax": "0.10.2"}}))

    def cell(values):
        return values.tolist() if count > 1 else values.tolist()[0]

    with run.metrics.open("w") as file:
        for k, (at, values) in enumerate(zip(steps.tolist(), returns, strict=True)):
            row = {"env_steps": at, "iteration": k + 1, "charts/SPS": 1000.0 * (k + 1)}
            row |= {"charts/episodic_return": cell(values / 2)}
            row |= {"evaluation/return_mean": cell(values)}
            if success is not None:
                row["evaluation/success_rate"] = cell(np.asarray(success, float)[k])
            file.write(json.dumps(row) + "\n")
    return run


def learning(num_evaluations, num_seeds, level=100.0, seed=0):
    """Returns [K, seeds] that rise to about `level`, each seed at its own pace."""
    rng = np.random.default_rng(seed)
    time = np.linspace(1 / num_evaluations, 1, num_evaluations)[:, None]
    pace = rng.uniform(2, 6, num_seeds)
    noise = rng.normal(0, 0.03 * abs(level), (num_evaluations, num_seeds))
    return level * (1 - np.exp(-pace * time)) + noise
