"""What a policy costs: parameters, bytes, operations and time."""

import shutil
import subprocess
import tempfile
import time
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rljax.agents.distillation import acting_parameters
from rljax.exports import c_source
from rljax.exports.graph import Graph, traced_graph
from rljax.exports.interface import interface
from rljax.types import Agent, State

BATCHES = (1, 64)
CALLS, ROUNDS = 50, 20


def cost(agent: Agent, state: State) -> dict[str, Any]:
    """The cost of one greedy action of a plain agent.

    `parameters` are those that actions depend on, `nonzero` those of them that are not 0.
    `operations` are multiplications with additions of one observation. `bytes` are those of the
    policy as a C file, `constant_bytes` those of the constants in it, and `compiled_bytes` those of
    code and constants after `cc -Os`, None without a compiler. `latency_us` has, for each batch,
    microseconds of a call of the jitted policy on this machine, the fastest of some rounds.
    """
    params = state.learner.params
    acts = jax.tree.leaves(acting_parameters(agent, params))
    leaves = [np.asarray(x) for x, used in zip(jax.tree.leaves(params), acts, strict=True) if used]
    policy = interface(agent, state)
    graph = traced_graph(policy, 1)
    source = c_source.source(policy, graph, "")
    return {
        "parameters": sum(x.size for x in leaves),
        "nonzero": int(sum(np.count_nonzero(x) for x in leaves)),
        "operations": operations(graph),
        "constant_bytes": c_source.constant_bytes(policy, graph),
        "compiled_bytes": compiled_bytes(source),
        "bytes": len(source.encode()),
        "latency_us": {str(batch): latency(policy, batch) for batch in BATCHES},
    }


def compiled_bytes(source: str) -> int | None:
    """Code and constants of a compiled C file, as `size` finds; None without a compiler."""
    if not (shutil.which("cc") and shutil.which("size")):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file, compiled = Path(folder) / "policy.c", Path(folder) / "policy.o"
        file.write_text(source)
        subprocess.run(["cc", "-std=c99", "-Os", "-c", file, "-o", compiled], check=True)
        found = subprocess.run(["size", compiled], check=True, capture_output=True, text=True)
    text, data, *_ = found.stdout.splitlines()[1].split()
    return int(text) + int(data)


def operations(graph: Graph) -> int:
    """Multiplications with additions in the products of a graph."""
    total = 0
    for node in graph.nodes:
        if node.op == "dense":
            summed = node.inputs[1].shape[0]
        elif node.op == "dot_general":
            (over, _), _ = node.params["dimension_numbers"]
            summed = prod(node.inputs[0].shape[axis] for axis in over)
        elif node.op == "conv_general_dilated":
            kernel, numbers = node.inputs[1].shape, node.params["dimension_numbers"]
            summed = prod(kernel) // kernel[numbers.rhs_spec[0]]
        else:
            continue
        total += summed * prod(node.output.shape)
    return int(total)


def latency(policy: Any, batch: int) -> float:
    """Microseconds of one call of the jitted policy on a batch: the fastest of some rounds."""
    function = jax.jit(policy.function)
    given = [np.zeros(x.shape, x.dtype) for x in policy.arguments(batch)]
    jax.block_until_ready(function(*given))
    best = np.inf
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            found = function(*given)
        jax.block_until_ready(found)
        best = min(best, (time.perf_counter() - begin) / CALLS)
    return 1e6 * best
