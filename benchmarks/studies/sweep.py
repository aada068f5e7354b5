"""Time a sweep of 64 learning rates x 4 seeds of PPO on CartPole, and two other ways to do it.

    python benchmarks/studies/sweep.py
    python benchmarks/studies/sweep.py --sb3-python SB3/bin/python

The sweep is the single command `rljax sweep`, timed from start to end. Its cache directory is
empty, so compiling is in that time. The first other way trains one seed and learning rate after
another, in one process and with one compiled program. A few of these trainings are timed, without
compiling (`sweep_alone.py`). The second way is SB3 with Optuna, in the virtual environment of
`--sb3-python`. A few of its trials are timed (`sweep_sb3.py`). In all of them 64 full episodes
follow each training. Rates count environment steps of training.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs/ppo/cartpole.toml"
SPACE = """
[sweep]
method = "grid"
seeds = {seeds}
[hparams]
lr = {{ low = 1e-5, high = 1e-1, scale = "log", num = {trials} }}
"""


def output(command: list[str]) -> dict:
    """The JSON object in the last line that a program prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def sweep(folder: Path, trials: int, seeds: int) -> tuple[float, list[dict]]:
    """Seconds of the command from start to end, and its trials."""
    space, out = folder / "space.toml", folder / "sweep"
    space.write_text(SPACE.format(trials=trials, seeds=seeds))
    command = ["-m", "rljax", "sweep", str(CONFIG), "--space", str(space), "--run-dir", str(out)]
    cold = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], env=cold, check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - began
    return seconds, [json.loads(x) for x in (out / "trials.jsonl").read_text().splitlines()]


def main() -> None:
    """Time the sweep, then the other ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--alone", type=int, default=16, help="trainings timed one after another")
    parser.add_argument("--sb3-python", help="Python with stable-baselines3 and optuna")
    parser.add_argument("--sb3-trials", type=int, default=3)
    arguments = parser.parse_args()
    runs = arguments.trials * arguments.seeds
    with tempfile.TemporaryDirectory() as folder:
        seconds, trials = sweep(Path(folder), arguments.trials, arguments.seeds)
    steps = trials[0]["env_steps"]
    best = max(t["value"] for t in trials if t["value"] is not None)
    print(f"sweep: {runs} x {steps:,} steps in {seconds:.1f} s, {runs * steps / seconds:,.0f} a s")
    print(f"  best return {best:.1f}, {sum(t['value'] is None for t in trials)} trials diverged")

    middle = [str(t["params"]["hparams.lr"]) for t in trials[:: max(1, len(trials) // 16)]]
    rates = (middle * arguments.alone)[: arguments.alone]
    alone = output([sys.executable, str(HERE / "sweep_alone.py"), str(CONFIG), *rates])
    each = statistics.median(alone["seconds"])
    print(
        f"one after another, compiled once: {each:.3f} s each (median of {len(rates)}), "
        f"{steps / each:,.0f} steps a s: {runs * each:.0f} s for all, "
        f"{runs * each / seconds:.2f} times the sweep's"
    )
    if arguments.sb3_python:
        sb3 = output(
            [
                arguments.sb3_python,
                str(HERE / "sweep_sb3.py"),
                str(steps),
                f"{arguments.sb3_trials}",
            ]
        )
        each = statistics.median(sb3["seconds"])
        print(
            f"SB3 + Optuna: {each:.1f} s each (median of {arguments.sb3_trials}, returns "
            f"{[round(r) for r in sb3['returns']]}), {steps / each:,.0f} steps a s: "
            f"{runs * each / seconds:.0f} times the sweep's"
        )


if __name__ == "__main__":
    main()
