"""Time PPO on CartPole, and PureJaxRL on the same work beside it.

    python scripts/benchmark.py
    python scripts/benchmark.py --peer-python PEER/bin/python --peer-code PUREJAXRL/purejaxrl

The peer lives in a virtual environment of its own (jax, flax, optax, distrax, gymnax 0.0.9) and a
checkout of github.com/luchris429/purejaxrl. Both train with the same hyperparameters, in turns;
rows give the median of the runs, compiling apart. Rates count environment steps. The return is
that of the episodes which ended last while training: a fast run that does not learn counts for
nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

WORK = {  # num_envs, rollout_length, num_minibatches, total environment steps
    "4 x 128": (4, 128, 4, 500_000),
    "64 x 128": (64, 128, 4, 1_000_000),
    "2048 x 32": (2048, 32, 16, 2_000_000),
}

PEER = """
import sys, types
# Packages that PureJaxRL imports for environments that are not used here.
for name in ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["brax"].envs = sys.modules["brax.envs"]
training = sys.modules["brax.envs.wrappers.training"]
training.EpisodeWrapper = training.AutoResetWrapper = object
sys.modules["navix"].Environment = object
import jax
jax.tree_map = jax.tree_util.tree_map  # PureJaxRL was written for an older JAX.
sys.path.insert(0, sys.argv[1])
import ppo
train = ppo.make_train(dict(
    LR=2.5e-4, NUM_ENVS={envs}, NUM_STEPS={length}, TOTAL_TIMESTEPS={total}, UPDATE_EPOCHS=4,
    NUM_MINIBATCHES={minibatches}, GAMMA=0.99, GAE_LAMBDA=0.95, CLIP_EPS=0.2, ENT_COEF=0.01,
    VF_COEF=0.5, MAX_GRAD_NORM=0.5, ACTIVATION="tanh", ENV_NAME="CartPole-v1", ANNEAL_LR=True,
    DEBUG=False))
key = jax.random.PRNGKey(0)
result = lambda out: float(out["metrics"]["returned_episode_returns"][-1].mean())
"""

OURS = """
import jax, rljax
from rljax.agents.ppo import Hparams
agent = rljax.ppo(
    rljax.make("CartPole-v1"), num_envs={envs}, rollout_length={length}, num_epochs=4,
    num_minibatches={minibatches}, total_env_steps={total}, clip_value=True,
    hparams=Hparams(lr=2.5e-4))
def train(key):
    step = lambda state, _: agent.step(state)
    return jax.lax.scan(step, agent.init(key), length={total} // agent.env_steps_per_iteration)
key = jax.random.key(0)
result = lambda out: float(jax.numpy.nanmean(out[1]["charts/episodic_return"][-10:]))
"""

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


def measure(python: list[str], program: str, work: tuple[int, int, int, int]) -> dict:
    """Run one program in a process of its own: seconds, seconds of compiling, and its return."""
    envs, length, minibatches, total = work
    code = program.format(envs=envs, length=length, minibatches=minibatches, total=total) + TIMED
    done = subprocess.run([python[0], "-c", code, *python[1:]], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    iterations = total // (envs * length)
    measured = json.loads(done.stdout.splitlines()[-1])
    return {"rate": iterations * envs * length / measured.pop("seconds"), **measured}


def main() -> None:
    """Measure every piece of work, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python of the peer's virtual environment")
    parser.add_argument("--peer-code", help="the purejaxrl folder of its checkout")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    sides = {"rljax": ([sys.executable], OURS)}
    if arguments.peer_python:
        sides["purejaxrl"] = ([arguments.peer_python, arguments.peer_code], PEER)
    for name, work in WORK.items():
        began = time.perf_counter()
        runs = {side: [] for side in sides}
        for _ in range(arguments.runs):
            for side, (python, program) in sides.items():
                runs[side].append(measure(python, program, work))
        row: dict = {"work": name, "took": round(time.perf_counter() - began)}
        for side, measured in runs.items():
            for what in ("rate", "compiling", "result"):
                row[f"{side} {what}"] = round(statistics.median(m[what] for m in measured), 1)
        if "purejaxrl" in sides:
            row["ratio"] = round(row["rljax rate"] / row["purejaxrl rate"], 2)
        print(json.dumps(row) if arguments.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
