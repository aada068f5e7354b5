"""Checkpoints: the whole state, atomically, through Orbax; nothing is ever unpickled."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rljax.errors import RunError
from rljax.experiments import migration
from rljax.parallel import processes
from rljax.training.compilation import described
from rljax.types import Agent, Key, State


class Checkpoints:
    """The checkpoints of a run, by iteration: the latest `keep`, and the one with the best score.

    A save is complete or absent, and its files carry checksums, so that damage is found and named
    instead of trained on. `lost` has a sentence for each score that could not be read.
    """

    def __init__(self, directory: Path, keep: int = 2, read_only: bool = False) -> None:
        policies = checkpoint_managers

        def score(metrics: dict[str, float]) -> float:
            return metrics["score"]

        self.lost: list[str] = []
        if not read_only:
            if processes.is_first():
                self.lost = _forget_damaged_scores(directory)
            processes.wait("for the scores of checkpoints")
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                # A failed save must stop the run where it happens.
                enable_async_checkpointing=False,
                lightweight_initialize=read_only,  # Who only reads a state needs no scores.
                best_fn=score,  # Orbax stores no metrics without it; the policy below decides.
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(keep),
                        policies.BestN(
                            get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
                        ),
                    ]
                ),
            ),
        )

    def save(self, state: State, score: float | None = None) -> bool:
        """Save under the state's iteration; `score` (higher is better) decides which is best.

        Returns False, and saves nothing, where there is one of this iteration or of a later one.
        """
        iteration = int(np.max(processes.fetch(state.iteration)))
        if iteration in self.iterations():
            return False
        return self._manager.save(
            iteration,
            args=ocp.args.Composite(state=ocp.args.StandardSave(_without_empty(state))),
            metrics=None if score is None else {"score": score},
        )

    def iterations(self) -> list[int]:
        """What is there, oldest first."""
        return sorted(self._manager.all_steps())

    def restore(self, like: State, iteration: int) -> State:
        """The state saved at `iteration`; `like` gives its structure, shapes and dtypes.

        Raises RunError, naming the checkpoint and what is wrong with it.
        """
        place = f"checkpoint {self._manager.directory / str(iteration)}"

        def read(tree):
            args = ocp.args.Composite(state=ocp.args.StandardRestore(tree))
            return self._manager.restore(iteration, args=args).state

        try:
            found = migration.restore(read, _without_empty(like), self._saved(iteration))
            return _with_empty(found, like)
        except Exception as error:  # Orbax and TensorStore raise whatever they met.
            if changed := self._changed(like, iteration):
                raise RunError(f"{place} is of another version of rljax: {changed}") from error
            reason = str(error).strip().split("\n")[0][:300]
            raise RunError(f"{place} is damaged or of another make: {reason}") from error

    def _changed(self, like: State, iteration: int) -> str:
        """Which leaves a checkpoint and `like` do not share, in words; "" if it cannot be read."""

        try:
            saved = set(migration.by_path(self._saved(iteration)))
        except Exception:  # As above.
            return ""
        wanted = migration.by_path(_without_empty(like)).keys()
        kinds = {"it has no": wanted - saved, "it has": saved - wanted}
        return " and ".join(f"{how} {', '.join(sorted(x)[:3])}" for how, x in kinds.items() if x)

    def _saved(self, iteration: int) -> Any:
        """The structure of a checkpoint, with a description of each leaf."""
        folder = self._manager.directory / str(iteration) / "state"
        return ocp.PyTreeCheckpointHandler().metadata(folder).tree

    def restore_latest(self, like: State) -> tuple[State | None, list[str]]:
        """The newest state that can be read, and a sentence for each that cannot.

        The state is None where nothing was saved. Raises RunError when there are checkpoints and
        none can be read.
        """
        damage: list[str] = []
        for iteration in reversed(self.iterations()):
            state, found = None, ""
            try:
                state = self.restore(like, iteration)
            except RunError as error:
                found = str(error)
            # Each process reads a part of its own, and all have to go on from the same state.
            if not processes.largest(int(state is None)):
                return state, damage
            damage.append(found or f"checkpoint {iteration} is damaged for another process")
        if damage:
            raise RunError("; ".join(damage))
        return None, damage

    def close(self) -> None:
        """Wait for what is under way, and let go."""
        self._manager.close()


def save(path: str | Path, state: State) -> None:
    """Save the whole state of an agent, with its replay buffer, in the folder `path`.

    It is complete there, or absent. The states of two iterations stay, the latest ones. What
    `rljax train` trained is saved already: see `load`.

    Raises RunError if a state of the same iteration, or of a later one, is there.
    """
    checkpoints = Checkpoints(Path(path))
    is_saved = checkpoints.save(state)
    checkpoints.close()
    if not is_saved:
        raise RunError(
            f"{path} has a state of this iteration or a later one: save to another folder"
        )


def restore(path: str | Path, agent: Agent, key: Key) -> State:
    """The latest state that `save` put into a folder: `state = rljax.restore("saved", agent, key)`.

    Args:
        agent: made as the one whose state it is. A longer `total_env_steps` goes on from there.
        key: a key, or the keys [P] of a population, as its `init` takes them. Their numbers do not
            matter.

    Raises RunError for what is missing, damaged or of another agent.
    """
    if not Path(path).is_dir():
        raise RunError(f"there is no folder {path}")
    checkpoints = Checkpoints(Path(path), read_only=True)
    state, damage = checkpoints.restore_latest(described(agent, jax.eval_shape(agent.init, key)))
    checkpoints.close()
    for sentence in damage:
        warnings.warn(f"{sentence}; restored is the one before it", stacklevel=2)
    if state is None:
        raise RunError(f"{path} has no saved state")
    return state


def _without_empty(tree: Any) -> Any:
    """None for the arrays without an element, as simulators have them: Orbax saves none."""
    return jax.tree.map(lambda leaf: leaf if leaf.size else None, tree)


def _with_empty(tree: Any, like: Any) -> Any:
    """The arrays without an element of `like` put back."""
    leaves = iter(jax.tree.leaves(tree))

    def whole(leaf: Any) -> Any:
        if leaf.size:
            return next(leaves)
        return jax.device_put(jnp.zeros(leaf.shape, leaf.dtype), leaf.sharding)

    return jax.tree.map(whole, like)


def _forget_damaged_scores(directory: Path) -> list[str]:
    """Remove scores that are no JSON, with which Orbax opens none of the checkpoints."""
    lost = []
    for file in sorted(directory.glob("*/metrics/metrics")):
        try:
            json.loads(file.read_bytes())
        except ValueError:
            shutil.rmtree(file.parent)
            lost.append(f"{file} is damaged: the checkpoint stays, as one without a score")
    return lost
