"""Rows: what the metrics of a chunk come to, and what in them is worth a warning."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rljax import collectives
from rljax.types import Agent, State

Row = dict[str, Any]  # one point of the curves: numbers, or lists [P] of a population
Hook = Callable[[State, Row], Row | None]

NEVER = (
    "nonfinite/obs",
    "nonfinite/reward",
    "nonfinite/intrinsic_reward",
    "faults/no_legal_action",
    collectives.REPLICAS_DIFFER,
)  # anything but 0 is an end
TOO_MUCH = {
    "losses/clipped_targets": (
        0.1,
        "more than a tenth of the targets lies beyond v_min and v_max, where the values cannot "
        "follow: set them to the least and the largest discounted return that is possible",
    )
}
"""Metric to its largest harmless value, and what to do about a larger one."""
EPISODE_MEANS = ("charts/episodic_return", "charts/episodic_length")
LATEST = "population/"  # names of which a row has the latest value; NaN is one that is not due


def summarize(agent: Agent, metrics: dict[str, np.ndarray], done: int, seconds: float) -> Row:
    """One row from the metrics [k, ...] of a chunk: means, weighted by episodes where of those.

    What happens once in a while to a population is not a mean, but the latest of its kind.
    """
    episodes = metrics["charts/episodes"]
    members = episodes[0].size
    row: Row = {
        "env_steps": agent.env_steps(done),
        "iteration": done,
        "charts/SPS": len(episodes) * agent.env_steps_per_iteration * members / seconds,
        "charts/episodes": plain(episodes.sum(0)),
    }
    for name, values in metrics.items():
        if name in EPISODE_MEANS:
            totals = np.where(episodes > 0, values * episodes, 0.0).sum(0)
            ended = episodes.sum(0)
            row[name] = plain(
                np.divide(totals, ended, out=np.full_like(totals, np.nan), where=ended > 0)
            )
        elif name.startswith(LATEST):
            given = np.flatnonzero(~np.isnan(values.reshape(len(values), -1)).all(1))
            row[name] = plain(values[given[-1] if given.size else -1])
        elif name not in row and name not in NEVER:
            row[name] = plain(values.mean(0))
    return row


def plain(values: np.ndarray) -> Any:
    """Python numbers or nested lists of them, with None for what is not finite."""
    if values.ndim:
        return [plain(v) for v in values]
    return float(values) if np.isfinite(values) else None


def columns(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Rows as one array [rows, ...] for each name, NaN where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row)
    shapes = {n: next(np.shape(row[n]) for row in rows if n in row) for n in names}
    return {
        name: np.array(
            [np.asarray(row.get(name, np.full(shape, np.nan)), np.float64) for row in rows]
        )
        for name, shape in shapes.items()
    }


def too_much(row: Row, total_env_steps: int) -> set[str]:
    """The metrics of `TOO_MUCH` that are above their bound, for at least one member.

    None in the first tenth of the run, in which values are still what they were by chance.
    """
    if row["env_steps"] <= total_env_steps / 10:
        return set()
    found = ((name, row.get(name), most) for name, (most, _) in TOO_MUCH.items())
    return {name for name, value, most in found if np.any(np.asarray(value, float) > most)}
