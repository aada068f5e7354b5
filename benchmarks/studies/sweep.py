"""Time a sweep of 64 learning rates x 4 seeds of PPO on CartPole, and others' ways beside it.

    python benchmarks/studies/sweep.py
    python benchmarks/studies/sweep.py --sb3-python PEER/bin/python

The sweep is the one command `rljax sweep`, from its start to its end, with nothing compiled before
(a cache directory of its own). Beside it, the same trainings one after another in one process and
with one compiled program: a few of them are timed, compiling apart. With `--sb3-python` (a virtual
environment with stable-baselines3 and optuna), a few trials of the same work by SB3 and Optuna.
Each training is followed by 64 full episodes on all sides. Rates count environment steps trained.
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

CONFIG = Path(__file__).parents[2] / "configs/ppo/cartpole.toml"
SPACE = """
[sweep]
method = "grid"
seeds = {seeds}
[hparams]
lr = {{ low = 1e-5, high = 1e-1, scale = "log", num = {trials} }}
"""

ALONE = """
import json, sys, time
import jax
from rljax import config, evaluation, training
from rljax.experiments import hooks
agent = config.load(sys.argv[1]).agent()
rates = [float(lr) for lr in sys.argv[2:]]
init = jax.jit(agent.init)
play = evaluation.episodes(agent, 64)
begin = lambda seed, lr: init(jax.random.key(seed), agent.hparams.__class__(lr=lr))
chunk = training.compile_chunk(agent, begin(0, rates[0]), max(1, agent.num_iterations // 50))
def run(seed, lr):
    for state, row in training.advance(agent, chunk, begin(seed, lr), lambda faults: None):
        pass
    return float(play(state, hooks.evaluation_key(seed)).returns.mean())
run(0, rates[0])
seconds, returns = [], []
for seed, lr in enumerate(rates):
    began = time.perf_counter()
    returns.append(run(seed % 4, lr))
    seconds.append(time.perf_counter() - began)
print(json.dumps(dict(seconds=seconds, returns=returns)))
"""

SB3 = """
import json, sys, time
import optuna
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
steps, trials = int(sys.argv[1]), int(sys.argv[2])
optuna.logging.set_verbosity(optuna.logging.WARNING)
seconds = []
def objective(trial):
    began = time.perf_counter()
    lr = trial.suggest_float("lr", 1e-3, 1e-2, log=True)
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", 8, seed=0), n_steps=64, batch_size=128,
                n_epochs=4, learning_rate=lambda left: lr * left, ent_coef=0.01, device="cpu",
                gamma=0.99, gae_lambda=0.95, clip_range=0.2, seed=0)
    model.learn(steps)
    mean, _ = evaluate_policy(model, make_vec_env("CartPole-v1", 8, seed=1), 64)
    seconds.append(time.perf_counter() - began)
    return mean
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials=trials)
print(json.dumps(dict(seconds=seconds, returns=[t.value for t in study.trials])))
"""


def output(command: list[str]) -> dict:
    """The JSON object that a program prints last."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def sweep(folder: Path, trials: int, seeds: int) -> tuple[float, list[dict]]:
    """Seconds that the command takes from start to end, and the table of its trials."""
    space, out = folder / "space.toml", folder / "sweep"
    space.write_text(SPACE.format(trials=trials, seeds=seeds))
    command = ["-m", "rljax", "sweep", str(CONFIG), "--space", str(space), "--run-dir", str(out)]
    cold = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], env=cold, check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - began
    return seconds, [json.loads(x) for x in (out / "trials.jsonl").read_text().splitlines()]


def main() -> None:
    """Measure the sweep, then a few of its trainings by themselves."""
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
    alone = output([sys.executable, "-c", ALONE, str(CONFIG), *rates])
    each = statistics.median(alone["seconds"])
    print(
        f"one after another, compiled once: {each:.3f} s each (median of {len(rates)}), "
        f"{steps / each:,.0f} steps a s: {runs * each:.0f} s for all, "
        f"{runs * each / seconds:.2f} times the sweep's"
    )
    if arguments.sb3_python:
        sb3 = output(
            [arguments.sb3_python, "-c", SB3, str(steps), str(arguments.sb3_trials)],
        )
        each = statistics.median(sb3["seconds"])
        print(
            f"SB3 + Optuna: {each:.1f} s each (median of {arguments.sb3_trials}, returns "
            f"{[round(r) for r in sb3['returns']]}), {steps / each:,.0f} steps a s: "
            f"{runs * each / seconds:.0f} times the sweep's"
        )


if __name__ == "__main__":
    main()
