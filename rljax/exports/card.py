"""The card of an exported policy: where it comes from, what it takes, what it was worth."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rljax.envs.spaces import describe
from rljax.experiments.directory import RunDirectory, system
from rljax.experiments.experiment import iterations
from rljax.exports.interface import Interface
from rljax.types import Agent, State


def card(
    agent: Agent, state: State, policy: Interface, about: Mapping[str, Any], written: bytes
) -> dict[str, Any]:
    """All that is known of an exported policy, as JSON has it.

    Args:
        agent: of which the policy is.
        state: with its parameters.
        policy: what was exported.
        about: further entries of the card, such as those of `of_run`.
        written: the file.
    """
    leaves = jax.tree.leaves(state.learner.params)
    return {
        **about,
        "sha256": hashlib.sha256(written).hexdigest(),
        "bytes": len(written),
        "environment": agent.env.name,
        "observations": describe(agent.env.observation_space),
        "actions": describe(agent.env.action_space),
        "env_steps": agent.env_steps(iterations(state)),
        "inputs": [each.describe("B") for each in policy.inputs],
        "outputs": [each.describe("B") for each in policy.outputs],
        "initial_carry": [np.asarray(x).tolist() for x in jax.tree.leaves(policy.initial_carry)],
        "parameters": {
            "number": sum(np.size(x) for x in leaves),
            "sha256": parameter_hash(state),
        },
        "versions": system()["packages"],
    }


def of_run(run: RunDirectory, member: int) -> dict[str, Any]:
    """What a run directory knows besides: agent, config, last evaluation, how it was compressed."""
    config = run.load_config()
    about: dict[str, Any] = {
        "agent": config.top.agent,
        "run": str(run.path),
        "seed": config.top.seed + member,
    }
    if run.evaluation.exists():
        summary = json.loads(run.evaluation.read_text())
        of_member = summary["seeds"][member] if "seeds" in summary else summary
        names = ("mean", "std", "success_rate")
        about["returns"] = {name: of_member[name] for name in names if name in of_member}
        about["returns"]["episodes"] = summary["episodes"] // len(summary.get("seeds", [1]))
    if run.compression.exists():
        compressed = json.loads(run.compression.read_text())
        about["compressed"] = {name: compressed[name] for name in ("run", "settings")}
    return {**about, "config": config.values()}


def parameter_hash(state: State) -> str:
    """SHA-256 over the names, shapes, types and bytes of all parameters."""
    digest = hashlib.sha256()
    for path, x in jax.tree_util.tree_leaves_with_path(state.learner.params):
        array = np.asarray(x)
        digest.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
