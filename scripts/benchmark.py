"""Time training on CartPole, and other frameworks on the same work beside it.

    python scripts/benchmark.py
    python scripts/benchmark.py --peer-python PEER/bin/python --purejaxrl CHECKOUT/purejaxrl
    python scripts/benchmark.py --only dqn --peer-python PEER/bin/python

The peers live in a virtual environment of their own (jax, flax, optax, distrax, flashbax, gymnax
0.0.9, rejax); PureJaxRL is a checkout of github.com/luchris429/purejaxrl. All train with the same
hyperparameters, in turns; rows give the median of the runs, compiling apart. Rates count
environment steps. The result is the return of episodes at the end of training: a fast run that does
not learn counts for nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

PUREJAXRL = """
import sys, types
# Packages that PureJaxRL imports for environments and services that are not used here.
for name in ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix",
             "wandb"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["brax"].envs = sys.modules["brax.envs"]
training = sys.modules["brax.envs.wrappers.training"]
training.EpisodeWrapper = training.AutoResetWrapper = object
sys.modules["navix"].Environment = object
import jax
jax.tree_map = jax.tree_util.tree_map  # PureJaxRL was written for an older JAX.
sys.path.insert(0, sys.argv[1])
key = jax.random.PRNGKey(0)
"""

PUREJAXRL_PPO = (
    PUREJAXRL
    + """
import ppo
train = ppo.make_train(dict(
    LR=2.5e-4, NUM_ENVS={envs}, NUM_STEPS={length}, TOTAL_TIMESTEPS={total}, UPDATE_EPOCHS=4,
    NUM_MINIBATCHES={minibatches}, GAMMA=0.99, GAE_LAMBDA=0.95, CLIP_EPS=0.2, ENT_COEF=0.01,
    VF_COEF=0.5, MAX_GRAD_NORM=0.5, ACTIVATION="tanh", ENV_NAME="CartPole-v1", ANNEAL_LR=True,
    DEBUG=False))
result = lambda out: float(out["metrics"]["returned_episode_returns"][-1].mean())
"""
)

PUREJAXRL_DQN = (
    PUREJAXRL
    + """
import dqn
train = dqn.make_train(dict(
    NUM_ENVS={envs}, BUFFER_SIZE=10_000, BUFFER_BATCH_SIZE=128, TOTAL_TIMESTEPS={total},
    EPSILON_START=1.0, EPSILON_FINISH=0.05, EPSILON_ANNEAL_TIME={total} // 2,
    TARGET_UPDATE_INTERVAL=50 * {envs}, LR=2.5e-4, LEARNING_STARTS=10_000,
    TRAINING_INTERVAL={envs}, LR_LINEAR_DECAY=False, GAMMA=0.99, TAU=1.0,
    ENV_NAME="CartPole-v1", SEED=0, NUM_SEEDS=1, WANDB_MODE="disabled", ENTITY="", PROJECT=""))
result = lambda out: float(out["metrics"]["returns"][-10:].mean())
"""
)

REJAX_DQN = """
import jax, rejax
# Its configs/gymnax/cartpole.yaml, without the evaluations in between.
agent = rejax.get_algo("dqn").create(
    env="CartPole-v1", agent="DuelingQNetwork", agent_kwargs=dict(activation="swish"),
    num_envs=10, buffer_size=50_000, fill_buffer=5_000, batch_size=100, max_grad_norm=10,
    learning_rate=1e-3, num_epochs=5, total_timesteps={total}, eval_freq={total}, polyak=0.98,
    eps_start=1, eps_end=0.05, exploration_fraction=0.5, gamma=0.99, ddqn=True,
    normalize_observations=False, skip_initial_evaluation=True)
train = agent.train
key = jax.random.PRNGKey(0)
result = lambda out: float(out[1][1][-1].mean())
"""

OURS = """
import jax, rljax
env = rljax.make("CartPole-v1")
def train(key):
    step = lambda state, _: agent.step(state)
    return jax.lax.scan(step, agent.init(key), length=agent.num_iterations)
key = jax.random.key(0)
result = lambda out: float(jax.numpy.nanmean(out[1]["charts/episodic_return"][-100:]))
"""

PPO = (
    OURS
    + """
agent = rljax.ppo(
    env, num_envs={envs}, rollout_length={length}, num_epochs=4, num_minibatches={minibatches},
    total_env_steps={total}, clip_value=True, hparams=rljax.ppo.Hparams(lr=2.5e-4))
"""
)

DQN = (
    OURS
    + """
agent = rljax.dqn(
    env, num_envs={envs}, total_env_steps={total}, buffer_size=10_000, batch_size=128,
    warmup_env_steps=10_000, target_period=50, loss="squared", hidden=(120, 84))
"""
)

DQN_AS_REJAX = (
    OURS
    + """
agent = rljax.dqn(
    env, num_envs=10, total_env_steps={total}, buffer_size=50_000, batch_size=100,
    updates_per_iteration=5, warmup_env_steps=5_000, target_period=5, dueling=True, double=True,
    loss="squared", hidden=(64, 64), activation="silu",
    hparams=rljax.dqn.Hparams(lr=1e-3, tau=0.02))
"""
)

TIMED = """
import json, time
began = time.perf_counter()
compiled = jax.jit(train).lower(key).compile()
compiling = time.perf_counter() - began
seconds = []
for _ in range(2):
    began = time.perf_counter()
    out = jax.block_until_ready(compiled(key))
    seconds.append(time.perf_counter() - began)
print(json.dumps(dict(seconds=min(seconds), compiling=compiling, result=result(out))))
"""


class Work(NamedTuple):
    """The same training, as a program for each side."""

    name: str
    sides: dict[str, str]
    numbers: dict[str, int]


def ppo(envs: int, length: int, minibatches: int, total: int) -> Work:
    """PPO with `envs` environments and rollouts of `length` steps."""
    total -= total % (envs * length)  # PureJaxRL drops what is left over.
    numbers = {"envs": envs, "length": length, "minibatches": minibatches, "total": total}
    return Work(f"ppo {envs} x {length}", {"rljax": PPO, "purejaxrl": PUREJAXRL_PPO}, numbers)


def dqn(envs: int, total: int) -> Work:
    """DQN with one update of 128 for each step of all environments."""
    total -= total % envs
    sides = {"rljax": DQN, "purejaxrl": PUREJAXRL_DQN}
    return Work(f"dqn {envs}", sides, {"envs": envs, "total": total})


WORK = (
    ppo(4, 128, 4, 500_000),
    ppo(64, 128, 4, 1_000_000),
    ppo(2048, 32, 16, 2_000_000),
    dqn(10, 500_000),
    dqn(128, 2_000_000),
    Work("dqn as rejax", {"rljax": DQN_AS_REJAX, "rejax": REJAX_DQN}, {"total": 100_000}),
)


def measure(python: list[str], program: str, numbers: dict[str, int]) -> dict:
    """Run one program in a process of its own: env steps/s, seconds of compiling, its result."""
    code = program + TIMED
    for name, number in numbers.items():
        code = code.replace(f"{{{name}}}", str(number))
    done = subprocess.run([python[0], "-c", code, *python[1:]], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    measured = json.loads(done.stdout.splitlines()[-1])
    return {"rate": numbers["total"] / measured.pop("seconds"), **measured}


def main() -> None:
    """Measure every piece of work, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python of the peers' virtual environment")
    parser.add_argument("--purejaxrl", help="the purejaxrl folder of its checkout")
    parser.add_argument("--only", default="", help="only work whose name contains this")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    python = {"rljax": [sys.executable]}
    if arguments.peer_python:
        python["rejax"] = [arguments.peer_python]
        if arguments.purejaxrl:
            python["purejaxrl"] = [arguments.peer_python, arguments.purejaxrl]
    for name, programs, numbers in WORK:
        if arguments.only not in name:
            continue
        sides = [side for side in programs if side in python]
        runs: dict[str, list[dict]] = {side: [] for side in sides}
        for _ in range(arguments.runs):
            for side in sides:
                runs[side].append(measure(python[side], programs[side], numbers))
        row: dict = {"work": name}
        for side, measured in runs.items():
            for what in ("rate", "compiling", "result"):
                row[f"{side} {what}"] = round(statistics.median(m[what] for m in measured), 1)
        for peer in sides[1:]:
            row[f"ratio to {peer}"] = round(row["rljax rate"] / row[f"{peer} rate"], 2)
        print(json.dumps(row) if arguments.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"took {time.perf_counter() - began:.0f} s", file=sys.stderr)
