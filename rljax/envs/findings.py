"""What is found wrong with an environment, and where in its code."""

import inspect
import os
import re
import traceback
from typing import Any, NamedTuple

import jax

from rljax.envs import autoreset


class Finding(NamedTuple):
    """Something wrong with an environment."""

    sentence: str  # what is wrong, and what to write instead
    where: str = ""  # file:line, where that is known
    is_error: bool = True  # a warning is of what may be meant

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{'error' if self.is_error else 'warning'}: {self.sentence}"


def failure(env: Any, name: str, error: Exception, how: str = "") -> Finding:
    """What an exception of the environment's own code says, where it was raised."""
    concrete = (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerIntegerConversionError,
    )
    if isinstance(error, jax.errors.TracerArrayConversionError):
        what = "hands NumPy a number that is not known while compiling: use jax.numpy"
    elif isinstance(error, concrete):
        what = (
            "asks for the value of a number that is not known while compiling (by if, while, "
            "float(), int() or .item()): use jnp.where, or jax.lax.cond"
        )
    else:
        what = f"{how}raises {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return Finding(f"{name} {what}", _raised_at(error) or where_is(env, name))


def where_is(env: Any, name: str, pattern: str = "") -> str:
    """file:line of a function: of its last line that has the pattern, or of its `def`."""
    function = inspect.unwrap(getattr(env, name, None) or type(env))
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function)
    except (OSError, TypeError):
        return ""
    hits = [i for i, line in enumerate(lines) if pattern and re.search(pattern, line)]
    return f"{_near(file or '')}:{first + (hits[-1] if hits else 0)}"


def _raised_at(error: Exception) -> str:
    """file:line of the deepest frame that is neither JAX's nor of what examines."""
    examiner = os.path.join(os.path.dirname(__file__), "check.py")
    own = (os.path.dirname(jax.__file__), examiner, autoreset.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(own) and "site-packages" not in frame.filename
    ]
    return f"{_near(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def _near(file: str) -> str:
    """A path as people write it: from here, where it is below."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
