"""Tune SB3's PPO on CartPole with Optuna, with the settings of our config; used by `sweep.py`.

    SB3/bin/python benchmarks/studies/sweep_sb3.py ENV_STEPS TRIALS

Prints one line of JSON: seconds and mean return of each trial.
"""

import json
import sys
import time

import optuna
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy


def main(env_steps: int, trials: int) -> None:
    """Run all trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seconds = []

    def objective(trial) -> float:
        began = time.perf_counter()
        lr = trial.suggest_float("lr", 1e-3, 1e-2, log=True)
        model = PPO(
            "MlpPolicy",
            make_vec_env("CartPole-v1", 8, seed=0),
            n_steps=64,
            batch_size=128,
            n_epochs=4,
            learning_rate=lambda left: lr * left,
            ent_coef=0.01,
            device="cpu",
            gamma=0.99,
            gae_lambda=0.95,
            clip_range=0.2,
            seed=0,
        )
        model.learn(env_steps)
        mean, _ = evaluate_policy(model, make_vec_env("CartPole-v1", 8, seed=1), 64)
        seconds.append(time.perf_counter() - began)
        return mean

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=trials)
    print(json.dumps({"seconds": seconds, "returns": [trial.value for trial in study.trials]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
