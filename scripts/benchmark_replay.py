"""Time the replays, and flashbax's beside them.

    taskset -c 0 python scripts/benchmark_replay.py
    taskset -c 0 python scripts/benchmark_replay.py --peer-python PEER/bin/python

The peer's virtual environment has jax and flashbax. Rows are those of CartPole from 8 environments,
added a step at a time; samples are of 128. A figure is microseconds per operation, timed in one
compiled loop of 1,000 over a full memory; the median of the runs, which the sides take in turns.
"""

import argparse
import json
import statistics
import subprocess
import sys

ROWS = (10_000, 100_000, 1_000_000)

OURS = """
from rljax import replay
from rljax.types import Extras, Transition

def rows(*shape, dtype=jnp.float32):
    return jnp.ones((1, ENVS, *shape), dtype)

step = Transition(
    obs=rows(4), action=rows(dtype=jnp.int32), reward=rows(), terminated=rows(dtype=bool),
    truncated=rows(dtype=bool), next_obs=rows(4), extras=Extras())
memories = {
    "uniform": replay.uniform(ROWS, BATCH),
    "prioritized": replay.prioritized(ROWS, BATCH, alpha=0.6, beta=0.4)}
example = step

def prioritize(memory, state, row, priority):
    extras = Extras(row=row[None], priority=priority[None])
    return memory.prioritize(state, step.replace(extras=extras))
"""

PEER = """
import warnings
warnings.simplefilter("ignore")
import flashbax
example = dict(
    obs=jnp.ones(4), action=jnp.int32(1), reward=jnp.float32(1), done=jnp.bool_(True))
step = jax.tree.map(lambda x: jnp.broadcast_to(x, (ENVS, *x.shape)), example)
memories = {
    "uniform": flashbax.make_flat_buffer(ROWS, BATCH, BATCH, add_batch_size=ENVS),
    "prioritized": flashbax.make_prioritised_flat_buffer(ROWS, BATCH, BATCH, add_batch_size=ENVS)}

def prioritize(memory, state, row, priority):
    return memory.set_priorities(state, row, priority)
"""

TIMED = """
import json, statistics, time

def microseconds(operation, state):
    def run(state, out, inputs):
        return jax.lax.scan(lambda c, x: (operation(c[0], *x), None), (state, out), inputs)[0]

    inputs = (
        jax.random.split(jax.random.key(0), STEPS),
        jax.random.randint(jax.random.key(1), (STEPS, BATCH), 0, ROWS),
        jax.random.uniform(jax.random.key(2), (STEPS, BATCH)))
    # What an operation returns is carried, so that it has to be made.
    out = jax.eval_shape(operation, state, *jax.tree.map(lambda x: x[0], inputs))[1]
    out = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), out)
    compiled = jax.jit(run, donate_argnums=0).lower(state, out, inputs).compile()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        state = jax.block_until_ready(compiled(state, out, inputs))[0]
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) / STEPS * 1e6

measured = {}
for name, memory in memories.items():
    add = lambda state, key, row, priority: (memory.add(state, step), ())
    sample = lambda state, key, row, priority: (state, memory.sample(state, key))
    update = lambda state, key, row, priority: (prioritize(memory, state, row, priority), ())
    fill = jax.jit(lambda: jax.lax.fori_loop(
        0, ROWS // ENVS + 5, lambda _, state: memory.add(state, step), memory.init(example)))
    measured[name + " add"] = microseconds(add, fill())
    measured[name + " sample"] = microseconds(sample, fill())
    if name == "prioritized":
        measured[name + " prioritize"] = microseconds(update, fill())
print(json.dumps(measured))
"""


def measure(python: str, program: str, rows: int) -> dict[str, float]:
    """Run one program in a process of its own: microseconds by operation."""
    head = f"import jax, jax.numpy as jnp\nROWS, ENVS, BATCH, STEPS = {rows}, 8, 128, 1000\n"
    done = subprocess.run([python, "-c", head + program + TIMED], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure every number of rows, print a line for each operation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python of the peer's virtual environment")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    sides = {"ours": (sys.executable, OURS)}
    if arguments.peer_python:
        sides["theirs"] = (arguments.peer_python, PEER)
    for rows in ROWS:
        runs: dict[str, list] = {side: [] for side in sides}
        for _ in range(arguments.runs):
            for side, (python, program) in sides.items():
                runs[side].append(measure(python, program, rows))
        for operation in runs["ours"][0]:
            line: dict = {"rows": rows, "operation": operation}
            for side, measured in runs.items():
                line[f"{side} us"] = round(statistics.median(m[operation] for m in measured), 1)
            if "theirs" in sides:
                line["ratio"] = round(line["theirs us"] / line["ours us"], 2)
            text = "  ".join(f"{k} {v}" for k, v in line.items())
            print(json.dumps(line) if arguments.json else text)


if __name__ == "__main__":
    main()
