"""Measure how long a policy takes for a batch: jitted, in onnxruntime, and as C.

    python benchmarks/studies/exported_latency.py --hidden 64,64
    python benchmarks/studies/exported_latency.py --hidden 512,512 --batches 1,64
    python benchmarks/studies/exported_latency.py --hidden 128,128 --batches 1,64

The policy is PPO's for CartPole, with fresh weights. Each figure is microseconds of a call, the
fastest of many rounds. The second and third size are a network before and after 75% of the units
of its hidden layers are taken out. onnxruntime has one thread, and is called from Python with and
without bound buffers. C is called from C, a batch of 1.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import rljax
from rljax.exports.interface import interface

ROUNDS, CALLS = 100, 20
TIMER = """
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
int policy_act(const float *obs, float *carry, float *action);
int main(void) {
    float obs[4] = {0}, action[1];
    double best = 1e9, sum = 0;
    for (int round = 0; round < 1000; round++) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < 100; i++) {
            obs[0] = 0.001f * (float)i;
            policy_act(obs, 0, action);
            sum += action[0];
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        const double time = (end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) / 1e3;
        if (time / 100 < best) best = time / 100;
    }
    printf("%f", best);
    return sum < 0;
}
"""


def fastest(call: Callable[[], Any]) -> float:
    """Microseconds of a call."""
    best = np.inf
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - begin) / CALLS)
    return round(1e6 * best, 3)


def measure(hidden: tuple[int, ...], batches: list[int], flags: list[str]) -> dict[str, Any]:
    """The microseconds of each form."""
    import onnxruntime

    agent = rljax.ppo(rljax.make("CartPole-v1"), hidden=hidden, total_env_steps=100_000)
    state = jax.jit(agent.init)(jax.random.key(0))
    function = jax.jit(interface(agent, state).function)
    row: dict[str, Any] = {"hidden": hidden}
    with tempfile.TemporaryDirectory() as folder:
        for to in ("onnx", "c"):
            rljax.export(agent, state, to, Path(folder) / f"policy.{to}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = str(Path(folder) / "policy.onnx")
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        for batch in batches:
            obs = np.zeros((batch, 4), np.float32)
            bound = session.io_binding()
            bound.bind_cpu_input("obs", obs)
            bound.bind_output("action")
            calls = {
                "jitted": lambda obs=obs: jax.block_until_ready(function(obs)),
                "onnxruntime": lambda obs=obs: session.run(None, {"obs": obs}),
                "bound": lambda bound=bound: session.run_with_iobinding(bound),
            }
            row |= {f"{name}, {batch}": fastest(call) for name, call in calls.items()}
        (Path(folder) / "main.c").write_text(TIMER)
        for flag in flags:
            command = ["cc", "-std=c99", *flag.split(), "main.c", "policy.c", "-o", "main"]
            subprocess.run(command, cwd=folder, check=True)
            timed = subprocess.run("./main", cwd=folder, check=True, capture_output=True)
            row[f"cc {flag}"] = round(float(timed.stdout), 3)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", default="64,64")
    parser.add_argument("--batches", default="1")
    parser.add_argument(
        "--flags", default="-O2/-O3/-O3 -march=native", help="of cc, with / between"
    )
    given = parser.parse_args()
    sizes = tuple(map(int, given.hidden.split(",")))
    batches = list(map(int, given.batches.split(",")))
    print(json.dumps(measure(sizes, batches, given.flags.split("/"))))
