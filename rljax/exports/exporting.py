"""A policy, written in one of several formats."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.export

from rljax.errors import RunError, UsageError, check_extra, check_known
from rljax.experiments import directory
from rljax.exports import c_source, card, onnx_model
from rljax.exports.graph import traced_graph
from rljax.exports.interface import Interface, interface
from rljax.types import Agent, State

PLATFORMS = ("cpu", "cuda", "tpu")  # of a StableHLO file


def export(
    agent: Agent,
    state: State,
    to: str,
    path: str | Path,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the greedy policy of an agent as one file, and its card beside it.

    What the agent does to observations and actions is inside: encoding, running statistics, masks,
    bounds, and the step of a recurrent carry.

    Args:
        agent: the agent, such as `rljax.load` gives; of a population, the agent of one member.
        state: its state, of which the parameters are written.
        to: "c" (a C99 file with `policy_act`), "onnx" or "stablehlo" (what `jax.export` reads).
        path: the file, whose name ends in `.c`, `.onnx` or `.stablehlo`. The card is a JSON file of
            that name with `.json` behind it.
        about: further entries of the card.

    Returns the card.

    Raises UsageError for a format that is not known or needs packages that are not installed, a
    path of another kind, a population, and an operation of the policy that the format cannot
    express; RunError where the file cannot be written.
    """
    path = Path(path)
    check(to, path)
    policy = interface(agent, state)
    try:
        written = FORMATS[to](policy, f"The greedy policy of an agent for {agent.env.name}.")
    except (TypeError, jax.errors.InconclusiveDimensionOperation) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"the network cannot be traced for {to} with a batch of any size, which has no number: "
            f"{reason}; use x.shape[0] for len(x), and -1 in reshape, or export with --to c"
        ) from error
    described = card.card(agent, state, policy, {"format": to, **(about or {})}, written)
    try:
        path.write_bytes(written)
        path.with_name(f"{path.name}.json").write_text(json.dumps(described, indent=2) + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
    return described


def check(to: str, path: str | Path) -> None:
    """Refuse, before work begins, what `export` cannot write; raises what it raises."""
    if to == "tflite":
        raise UsageError(
            "a policy cannot be exported to tflite: all that writes TensorFlow Lite from JAX needs "
            "TensorFlow, which rljax does not use; for small devices there is --to c"
        )
    check_known("format", to, FORMATS)
    directory.check_out(Path(path), f".{to}")
    check_extra(f"export to {to}", "export", *NEEDS[to])


def _c(policy: Interface, about: str) -> bytes:
    return c_source.source(policy, traced_graph(policy, 1), about).encode()


def _onnx(policy: Interface, about: str) -> bytes:
    return onnx_model.model(policy, traced_graph(policy, _any_batch()), about)


def _stablehlo(policy: Interface, about: str) -> bytes:
    exported = jax.export.export(jax.jit(policy.function), platforms=PLATFORMS)
    return bytes(exported(*policy.arguments(_any_batch())).serialize())


def _any_batch() -> Any:
    return jax.export.symbolic_shape("batch")[0]


FORMATS: dict[str, Callable[[Interface, str], bytes]] = {
    "stablehlo": _stablehlo,
    "onnx": _onnx,
    "c": _c,
}
NEEDS = {"stablehlo": ("flatbuffers",), "onnx": ("onnx",), "c": ()}
"""The packages of the extra `export` that a format needs."""
