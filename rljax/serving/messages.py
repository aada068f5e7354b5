"""What a request may say, read with care: a policy never sees what it was not made for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rljax.envs.spaces import Dict, Discrete, Space
from rljax.errors import UsageError, nearest
from rljax.exports.interface import Argument

BYTES_OF_NAMES, BYTES_OF_A_NUMBER = 4096, 32  # at most; a float64 in JSON has up to 24 characters
MOST_CHARACTERS = 128  # of the name of a session
KINDS = {"i": "iu", "u": "iu", "b": "biu"}
"""The NumPy kinds of numbers that may be given for one of these; for all others `NUMBERS`."""
NUMBERS = "fiu"
WORDS = {
    dict: "a map",
    list: "a list",
    str: "a text",
    bytes: "bytes",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    type(None): "null",
}

Session = str | int | None  # the name of one; None where the policy has no memory


class Refusal(UsageError):
    """A request that is answered with a sentence and a status of HTTP instead of an action."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class Request(NamedTuple):
    """A request that fits the policy."""

    arrays: list[np.ndarray]  # observation and mask, in the order of the policy's inputs
    session: Session
    begins: bool  # whether an episode begins with it


class Reader:
    """Reads messages for a policy.

    Args:
        inputs: what a message must have: the inputs of `exports.interface.Interface` without carry.
        space: the space of observations.
        remembers: whether the policy has a carry, so that a message must name its session.
    """

    def __init__(self, inputs: Sequence[Argument], space: Space, remembers: bool) -> None:
        # The parts of the observation come first, in the same order; a mask may be behind them.
        self._inputs = list(zip(inputs, [*_parts(space), None], strict=False))
        self._remembers = remembers
        self._fields = [each.name for each in inputs] + ["session", "reset"]
        numbers = sum(int(np.prod(each.shape)) for each in inputs)
        self.most_bytes = BYTES_OF_NAMES + BYTES_OF_A_NUMBER * numbers
        """A longer body is no request."""

    def read(self, message: Any) -> Request:
        """The request in a decoded body; raises Refusal."""
        if not isinstance(message, dict):
            raise Refusal(f"a request must be a map with {self._fields[0]}, not {_word(message)}")
        for name in message:
            if name not in self._fields:
                word = str(name)[:MOST_CHARACTERS]
                raise Refusal(f"field {word!r} is not known{nearest(word, self._fields)}")
        arrays = [_array(message, each, space) for each, space in self._inputs]
        return Request(arrays, self._session(message), _begins(message))

    def _session(self, message: dict) -> Session:
        session = message.get("session")
        if session is None:
            if self._remembers:
                raise Refusal(
                    "session is missing: the policy has a memory, so each request must name its "
                    "session, and the first one of an episode must have reset = true"
                )
        elif isinstance(session, bool) or not isinstance(session, str | int):
            raise Refusal(f"session must be a text or a whole number, not {_word(session)}")
        elif len(str(session)) > MOST_CHARACTERS:
            raise Refusal(f"session has more than {MOST_CHARACTERS} characters")
        return session


def _begins(message: dict) -> bool:
    begins = message.get("reset", False)
    if not isinstance(begins, bool):
        raise Refusal(f"reset must be true or false, not {_word(begins)}")
    return begins


def _array(message: dict, argument: Argument, space: Space | None) -> np.ndarray:
    name, shape, dtype = argument.name, argument.shape, np.dtype(argument.dtype)
    if name not in message:
        raise Refusal(f"{name} is missing: {dtype} of the shape {shape}")
    given = _given(message[name], argument)
    if given.dtype.kind not in KINDS.get(dtype.kind, NUMBERS):
        raise Refusal(f"{name} must be {dtype} of the shape {shape}, not {given.dtype.name}")
    if given.shape != shape:
        raise Refusal(f"{name} has the shape {given.shape}, and the policy takes {shape}")
    with np.errstate(over="ignore"):
        array = given.astype(dtype)
    if dtype.kind in KINDS:
        if not (array == given).all():
            raise Refusal(f"{name} has a number that {dtype} does not have")
    elif not np.isfinite(array).all():
        raise Refusal(f"{name} has a number that is not finite in {dtype}")
    if isinstance(space, Discrete) and not ((array >= 0) & (array < space.n)).all():
        raise Refusal(f"{name} must be one of the numbers 0 to {space.n - 1}")
    if name == "mask" and not array.any(-1).all():
        raise Refusal("mask has no legal action")
    return array


def _given(value: Any, argument: Argument) -> np.ndarray:
    """The array that was given: nested lists, or with msgpack also bytes in the order of C."""
    name, shape, dtype = argument.name, argument.shape, np.dtype(argument.dtype)
    if isinstance(value, bytes):
        size = int(np.prod(shape)) * dtype.itemsize
        if len(value) != size:
            raise Refusal(
                f"{name} has {len(value)} bytes, and {dtype} of the shape {shape} has {size}"
            )
        stored = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("<")
        return np.frombuffer(value, stored).reshape(shape)
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):
        raise Refusal(
            f"{name} is not an array of the shape {shape}: its lists do not fit together"
        ) from None


def _parts(space: Space) -> list[Space]:
    """The spaces of the arrays of an observation, in the order in which JAX flattens it."""
    if not isinstance(space, Dict):
        return [space]
    return [part for name in sorted(space.spaces) for part in _parts(space.spaces[name])]


def _word(value: Any) -> str:
    """What a value of JSON or msgpack is called."""
    return WORDS.get(type(value), type(value).__name__)
