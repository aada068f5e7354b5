"""What happens between the chunks of a run: evaluate, record, save."""

import json
from collections.abc import Callable

import jax
import numpy as np

from rljax.experiments import directory, metrics
from rljax.experiments.checkpoints import Checkpoints
from rljax.experiments.config import Config
from rljax.experiments.directory import RunDirectory
from rljax.parallel import processes
from rljax.training.evaluation import Evaluation, episodes
from rljax.training.interrupts import Interrupts
from rljax.training.rows import Hook, Row
from rljax.types import Agent, Key, State

EVALUATION_STREAM = 0xE7A1  # keeps the keys of evaluation apart from those of training


def every(interval: int, agent: Agent, begun_at: int) -> Callable[[Row], bool]:
    """Whether a row is the first at or after a multiple of `interval` steps, or the run's last.

    An interval of 0 is a tenth of the run; `begun_at` is where this process took it up.
    """
    total = agent.env_steps(agent.num_iterations)
    interval = interval or max(1, total // 10)
    before = begun_at

    def due(row: Row) -> bool:
        nonlocal before
        steps, passed = row["env_steps"], before
        before = steps
        return steps // interval > passed // interval or steps >= total

    return due


def evaluating(config: Config, agent: Agent, run: RunDirectory, begun_at: int) -> Hook:
    """Add an evaluation to the rows where one is due; the run's last is also kept as a file."""
    due = every(config.evaluation.interval_env_steps, agent, begun_at)
    play = episodes(agent, config.evaluation.episodes, config.evaluation.deterministic)
    key = evaluation_key(config.top.seed)

    def hook(state: State, row: Row) -> Row | None:
        if not due(row):
            return None
        result = processes.fetch(play(state, jax.random.fold_in(key, row["iteration"])))
        if row["iteration"] >= agent.num_iterations and processes.is_first():
            directory.write_atomically(
                run.evaluation, json.dumps(result.summary(row["env_steps"])) + "\n"
            )
        return evaluation_row(result)

    return hook


def evaluation_key(seed: jax.typing.ArrayLike) -> Key:
    """The key of a seed's evaluations, apart from that of its training; [] both."""
    return jax.random.fold_in(jax.random.key(seed), EVALUATION_STREAM)


def evaluation_row(result: Evaluation) -> Row:
    """What a row of metrics says of an evaluation: a number, or a list [P] of a population's."""
    measured = {
        metrics.EVALUATED: result.returns,
        metrics.SUCCESS_RATE: result.succeeded,
        "evaluation/length_mean": result.lengths,
    }
    return {
        name: np.asarray(values, np.float64).mean(-1).tolist()
        for name, values in measured.items()
        if values is not None
    }


def recording(run: RunDirectory) -> Hook:
    """Append every row to metrics.jsonl; before `saving`, so that no checkpoint is ahead of it."""
    return lambda state, row: metrics.append(run.metrics, row)


def saving(
    config: Config, agent: Agent, checkpoints: Checkpoints, interrupts: Interrupts, begun_at: int
) -> Hook:
    """Save the state where that is due, or when a signal is about to end the run."""
    due = every(config.checkpoint.interval_env_steps, agent, begun_at)

    def hook(state: State, row: Row) -> None:
        if due(row) or interrupts.received is not None:
            score = row.get(metrics.EVALUATED)  # of each seed
            checkpoints.save(state, None if score is None else float(np.mean(score)))

    return hook
