"""Ray Tune as the driver: one trainable for each batch of trials, wherever the cluster has room."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from rljax.errors import RunError, UsageError
from rljax.tune import methods
from rljax.tune.settings import Sweep
from rljax.tune.trials import Batch, Outcome


def driver(
    sweep: Sweep, storage: Path
) -> Callable[[Sequence[Batch], Callable[[list[Outcome]], None]], None]:
    """Trains batches on a Ray cluster: the one that RAY_ADDRESS names, or this machine.

    Each batch is one trial of Ray Tune in a process of its own, on one GPU where the cluster has
    any, else on as many CPU cores as the sweep has devices. Ray keeps notes of its own in
    `storage`, which several machines have to share. Raises UsageError if Ray is missing.
    """
    # The sweep has a directory and a terminal display of its own.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    try:
        import ray
        from ray import tune
    except ImportError:
        raise UsageError(
            "driver \"ray\" needs Ray Tune, which is not installed: pip install 'rljax-core[ray]'"
        ) from None

    if not ray.is_initialized():
        cache = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
        environment = {"JAX_NUM_CPU_DEVICES": str(sweep.settings.devices)}
        environment |= {"JAX_COMPILATION_CACHE_DIR": cache} if cache else {}
        ray.init(
            runtime_env={"env_vars": environment}, log_to_driver=False, logging_level=logging.ERROR
        )
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    room = {"gpu": 1.0} if has_gpus else {"cpu": float(sweep.settings.devices)}

    def drive(waiting: Sequence[Batch], done: Callable[[list[Outcome]], None]) -> None:
        class Commit(tune.Callback):
            """Hands over the trials of a batch as soon as it has been trained."""

            def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_):
                done(result["outcomes"])

        found = tune.Tuner(
            tune.with_resources(tune.with_parameters(train, sweep=sweep, waiting=waiting), room),
            param_space={"batch": tune.grid_search(list(range(len(waiting))))},
            run_config=tune.RunConfig(storage_path=str(storage), callbacks=[Commit()], verbose=0),
        ).fit()
        if found.errors:
            reason = str(found.errors[0]).strip().splitlines()[-1]
            raise RunError(f"a batch failed on Ray ({reason}): `rljax resume` trains what is left")

    return drive


def train(config: dict[str, int], sweep: Sweep, waiting: Sequence[Batch]) -> None:
    """The trainable: a batch by its place among those that wait."""
    from ray import tune

    outcomes = methods.get(sweep.settings.method).train(sweep, None)(waiting[config["batch"]])
    tune.report({"outcomes": outcomes})
