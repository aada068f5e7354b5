"""Whether an environment keeps the protocol: what is wrong with it, where, and what to write.

>>> import rljax
>>> from rljax.envs.probes import Recall
>>> rljax.check_env(Recall())
[]
"""

import inspect
import os
import re
import traceback
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import autoreset, spaces
from rljax.envs.action_masks import legal_actions, observed
from rljax.envs.simulators import on_host
from rljax.errors import UsageError
from rljax.types import Action, Environment, HasActionMask, Key

MEMBERS = ("name", "observation_space", "action_space", "reset", "step")
STEP = ("state", "obs", "reward", "terminated", "truncated")
TRACES = 8  # of the same function, all of which should come to the same program
STARTS = 64
EPISODES, STEPS = 8, 3000  # played side by side, at random
SUSPICIOUS_LENGTH = 20  # from which on episodes that all end at once look like a time limit
RANDOMNESS = r"\bn(um)?py?\.random\b|(?<!jax\.)\brandom\.\w+\(|\btime\.\w+\("
RETURN = r"^\s*return\b"


class Finding(NamedTuple):
    """Something wrong with an environment."""

    sentence: str  # what is wrong, and what to write instead
    where: str = ""  # file:line, where that is known
    is_error: bool = True  # a warning is of what may be meant

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{'error' if self.is_error else 'warning'}: {self.sentence}"


def check_env(env: Any) -> list[Finding]:
    """What is wrong with an environment, the first kind of errors only, and what is doubtful.

    It is traced, compared with itself, and played: 3,000 steps of random actions in 8 copies. An
    empty list means that nothing was found, not that the rewards are what was meant. A simulator of
    the host is played by `check_simulator`.
    """
    if on_host(env):
        from rljax.envs.check_simulator import check_simulator

        return check_simulator(env)
    found: list[Finding] = []
    for examine in (_members, _reset, _mask, _step, _purity, _starts, _play):
        found += examine(env)
        if any(finding.is_error for finding in found):
            break
    return found


def _members(env: Any) -> Iterator[Finding]:
    kind = type(env).__name__
    for member in MEMBERS:
        given = getattr(env, member, None)
        if given is None:
            where = _where(type(env), "__init__")
            yield Finding(f"{kind} has no {member}: an environment has {', '.join(MEMBERS)}", where)
        elif member.endswith("_space") and not isinstance(given, spaces.Space):
            yield Finding(
                f"{member} is a {type(given).__name__}: write rljax.envs.spaces.Discrete or Box"
            )


def _reset(env: Any) -> Iterator[Finding]:
    given, found = _trace(env, "reset", jax.random.key(0))
    yield from found
    if given is None:
        return
    where = _where(env, "reset", RETURN)
    if not isinstance(given, tuple) or len(given) != 2:
        yield Finding(f"reset returns {_count(given)}: write `return state, obs`", where)
        return
    wrong = list(_unlike(env.observation_space, given[1], where))
    if wrong and not any(_unlike(env.observation_space, given[0], where)):
        yield Finding("reset returns obs before state: write `return state, obs`", where)
    else:
        yield from wrong


def _step(env: Any) -> Iterator[Finding]:
    state, obs = _strong(jax.eval_shape(env.reset, jax.random.key(0)))
    given, found = _trace(env, "step", jax.random.key(0), state, _some_action(env))
    yield from found
    if given is None:
        return
    where = _where(env, "step", RETURN)
    if not isinstance(given, tuple) or len(given) != len(STEP):
        yield Finding(f"step returns {_count(given)}: write `return {', '.join(STEP)}`", where)
        return
    for name, before, after in (("state", state, given[0]), ("obs", obs, given[1])):
        yield from _changes(name, before, after, where)
    for name, value in zip(STEP[2:], given[2:], strict=True):
        shape = getattr(value, "shape", None)
        if shape != ():
            yield Finding(
                f"{name} has shape {_shape(shape)}, and should be one number []: an environment "
                "knows nothing of others beside it; use x[0], or x.sum()",
                where,
            )
        elif name != "reward" and value.dtype != bool:
            yield Finding(
                f"{name} is {value.dtype}, and all but 0 counts as the end: write a comparison",
                where,
                is_error=False,
            )


def _mask(env: Environment) -> Iterator[Finding]:
    if not isinstance(env, HasActionMask):
        return
    try:
        jax.eval_shape(lambda key: autoreset.reset(env, key), jax.random.key(0))
    except UsageError as error:
        yield Finding(str(error), _where(env, "action_mask", RETURN))
    except Exception as error:  # Of whoever wrote the environment.
        yield _failure(env, "action_mask", error)


def _purity(env: Any) -> Iterator[Finding]:
    state, _ = _strong(jax.eval_shape(env.reset, jax.random.key(0)))
    arguments = {
        "reset": (jax.random.key(0),),
        "step": (jax.random.key(0), state, _some_action(env)),
    }
    for name, given in arguments.items():
        first, *others = (_program(env, name, given) for _ in range(TRACES))
        if any(other != first for other in others):
            yield Finding(
                f"{name} is another function each time, for the same key: it takes numbers from "
                "NumPy's or Python's random, the clock, or something that it changes itself, and "
                "compiled they stay the same for ever; use jax.random and the key, and put what "
                "changes into the state",
                _where(env, name, RANDOMNESS),
            )


def _starts(env: Any) -> Iterator[Finding]:
    keys = jax.random.split(jax.random.key(0), STARTS)
    try:
        begun = jax.jit(jax.vmap(lambda key: autoreset.reset(env, key)))(keys)
    except Exception as error:
        yield _failure(env, "reset", error, "vmapped, ")
        return
    numbers = [x for x in jax.tree.leaves(begun) if not _is_key(x)]
    if all(np.array_equal(x, np.broadcast_to(x[:1], x.shape)) for x in map(np.asarray, numbers)):
        yield Finding(
            f"{STARTS} episodes from different keys start the same: if that is not meant, draw the "
            "start with the key",
            _where(env, "reset"),
            is_error=False,
        )


def _play(env: Any) -> Iterator[Finding]:
    try:
        seen = jax.device_get(jax.jit(lambda key: _episodes(env, key))(jax.random.key(0)))
    except Exception as error:
        yield _failure(env, "step", error, "vmapped, ")
        return
    if seen["stuck"].any():
        yield Finding(
            "action_mask allows no action in a state in which the episode goes on: leave one legal "
            "action, or return terminated=True",
            _where(env, "action_mask", RETURN),
        )
    where = _where(env, "step", RETURN)
    for path, space, low, high in parts(env.observation_space, seen["low"], seen["high"]):
        yield from outside(path, space, low.min(0), high.max(0), where)
    if not np.isfinite(seen["reward"]).all():
        yield Finding("reward becomes NaN or infinite under random actions", where)
    done, lengths = seen["terminated"] | seen["truncated"], seen["length"]
    if not done.any():
        yield Finding(
            f"no episode ended in {STEPS:,} steps of random actions: return truncated=True at a "
            "time limit, or nothing is ever known of whole episodes",
            where,
            is_error=False,
        )
        return
    length = lengths[done].min()
    at_once = length == lengths[done].max() and not seen["truncated"].any()
    if at_once and length >= SUSPICIOUS_LENGTH:
        yield Finding(
            f"every episode is terminated after {length} steps: if that is a time limit, return it "
            "as truncated, or agents learn that nothing comes after it",
            where,
            is_error=False,
        )


def _episodes(env: Environment, key: Key) -> dict[str, Any]:
    """EPISODES copies for STEPS steps: [STEPS, ...] ranges of obs, and [STEPS, EPISODES] ends."""
    key, key_reset = jax.random.split(key)
    state, obs = jax.vmap(lambda k: autoreset.reset(env, k))(jax.random.split(key_reset, EPISODES))

    def step(loop, key):
        state, obs, length = loop
        key_act, key_env = jax.random.split(key)
        actions = jax.vmap(lambda k, o: _random_action(env, k, legal_actions(o)))(
            jax.random.split(key_act, EPISODES), obs
        )
        following, new, reward, terminated, truncated, last = jax.vmap(
            lambda k, s, a: autoreset.autoreset(env, k, s, a)
        )(jax.random.split(key_env, EPISODES), state, actions)
        length = length + 1
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), observed(obs), observed(last))
        legal = legal_actions(obs)
        seen = {
            "low": jax.tree.map(lambda x: x.min(0), both),
            "high": jax.tree.map(lambda x: x.max(0), both),
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "length": length,
            "stuck": jnp.bool_(False) if legal is None else ~legal.any(-1),
        }
        return (following, new, jnp.where(terminated | truncated, 0, length)), seen

    begin = (state, obs, jnp.zeros(EPISODES, jnp.int32))
    return jax.lax.scan(step, begin, jax.random.split(key, STEPS))[1]


def _random_action(env: Environment, key: Key, legal: jax.Array | None) -> Action:
    """A legal action anywhere in its space; around 0 where that has no bounds."""
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        if legal is not None:
            return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf)).astype(space.dtype)
        return jax.random.randint(key, space.shape, 0, space.n, space.dtype)
    low, high = (np.clip(bound, -1e6, 1e6) for bound in (space.low, space.high))
    uniform = jax.random.uniform(key, space.shape, minval=low, maxval=high)
    normal = jnp.clip(jax.random.normal(key, space.shape), low, high)
    bounded = np.isfinite(space.low) & np.isfinite(space.high)
    return jnp.where(bounded, uniform, normal).astype(space.dtype)


def _trace(env: Any, name: str, *arguments: Any) -> tuple[Any, list[Finding]]:
    """The types that a function of the environment gives, None if it fails, and what was found."""
    function, before = getattr(env, name), dict(getattr(env, "__dict__", {}))
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = {"reset": "(self, key)", "step": "(self, key, state, action)"}[name]
        return None, [Finding(f"{name}: {error}; write def {name}{wanted}", _where(env, name))]
    try:
        given = jax.eval_shape(lambda *given: function(*given), *arguments)
    except Exception as error:  # Of whoever wrote the environment.
        return None, [_failure(env, name, error)]
    written = [
        attribute
        for attribute, value in getattr(env, "__dict__", {}).items()
        if before.get(attribute, env) is not value
        and not isinstance(getattr(type(env), attribute, None), cached_property)
    ]
    return given, [
        Finding(
            f"{name} writes self.{attribute}, which happens once, while compiling: put what "
            "changes into the state",
            _where(env, name, rf"self\.{attribute}\b[^=]*=(?!=)"),
        )
        for attribute in written
    ]


def _failure(env: Any, name: str, error: Exception, how: str = "") -> Finding:
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
    return Finding(f"{name} {what}", _raised_at(error) or _where(env, name))


def _changes(name: str, before: Any, after: Any, where: str) -> Iterator[Finding]:
    """How the types of a state or an observation after a step differ from those after a reset."""
    old, new = (
        {name + jax.tree_util.keystr(path): leaf for path, leaf in found}
        for found in map(jax.tree_util.tree_leaves_with_path, (before, after))
    )
    if jax.tree.structure(before) != jax.tree.structure(after):  # type: ignore[operator]
        lost, added = sorted(set(old) - set(new)), sorted(set(new) - set(old))
        what = [f"it lacks {', '.join(lost)}"] if lost else []
        what += [f"it adds {', '.join(added)}"] if added else []
        yield Finding(
            f"{name} is built otherwise by step than by reset"
            f"{': ' + ' and '.join(what) if what else ''}; both must have the same parts, in the "
            "same containers",
            where,
        )
        return
    for path, x, y in ((path, old[path], new[path]) for path in old):
        if x.shape != y.shape:
            yield Finding(
                f"{path} has shape {_shape(x.shape)} after reset and {_shape(y.shape)} after "
                "step: both must be the same",
                where,
            )
        elif x.dtype != y.dtype:
            loses = _is_key(x) or _is_key(y) or not np.can_cast(y.dtype, x.dtype, "same_kind")
            effect = "loses what does not fit" if loses else "is what will be used"
            yield Finding(
                f"{path} is {x.dtype} after reset and {y.dtype} after step, and cast to "
                f"{x.dtype}, which {effect}: start with jnp.asarray(..., jnp.{y.dtype}) in reset",
                where,
                is_error=loses,
            )


def _unlike(space: Any, obs: Any, where: str) -> Iterator[Finding]:
    """How the type of an observation differs from what its space says."""
    for path, part, leaf in parts(space, obs):
        shape = getattr(leaf, "shape", None)
        if shape != tuple(part.shape):
            yield Finding(
                f"{path} has shape {_shape(shape)}, and its space says {spaces.describe(part)}: "
                "make them the same",
                where,
            )
        elif isinstance(part, spaces.Discrete) and not jnp.issubdtype(leaf.dtype, jnp.integer):
            yield Finding(f"{path} is {leaf.dtype}, and Discrete means whole numbers", where)
        elif isinstance(part, spaces.Box) and leaf.dtype != np.dtype(part.dtype):
            yield Finding(
                f"{path} is {leaf.dtype}, and its space says {np.dtype(part.dtype)}: make them "
                "the same",
                where,
            )


def outside(path: str, space: Any, low: Any, high: Any, where: str) -> Iterator[Finding]:
    """How observations between `low` and `high`, arrays of their shape, leave their space."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        yield Finding(f"{path} becomes NaN or infinite under random actions", where)
        return
    discrete = isinstance(space, spaces.Discrete)
    bounds = (0, space.n - 1) if discrete else (space.low, space.high)
    least, most = (np.asarray(bound, np.float64) for bound in bounds)
    slack = 1e-5 * np.maximum(1.0, np.where(np.isfinite(most), np.abs(most), 1.0))
    for value, beyond in ((low, low < least - slack), (high, high > most + slack)):
        if np.any(beyond):
            index = tuple(int(i) for i in np.argwhere(beyond)[0])
            place = f"{path}[{', '.join(map(str, index))}]" if index else path
            yield Finding(
                f"{place} was {np.asarray(value)[index]:.6g}, outside {spaces.describe(space)}: "
                "give the space wider bounds, or clip",
                where,
            )
            return


def parts(space: Any, *trees: Any, path: str = "obs") -> Iterator[tuple]:
    """The path, the space and the leaf of each tree, for all parts of an observation."""
    if not isinstance(space, spaces.Dict):
        yield path, space, *trees
        return
    for name, part in space.spaces.items():
        inner = (tree.get(name) if isinstance(tree, dict) else None for tree in trees)
        yield from parts(part, *inner, path=f"{path}[{name!r}]")


def _some_action(env: Environment) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(env.action_space.shape, env.action_space.dtype)


def _strong(types: Any) -> Any:
    """Types as a loop carries them: no number is weakly typed."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), types)


def _program(env: Any, name: str, arguments: tuple) -> tuple[str, list[bytes]]:
    """What a function compiles to, and the numbers that have become part of it."""
    traced = jax.make_jaxpr(lambda *given: getattr(env, name)(*given))(*arguments)
    text = re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr))
    return text, [np.asarray(x).tobytes() for x in traced.consts if not _is_key(x)]


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _count(given: Any) -> str:
    return f"{len(given)} values" if isinstance(given, tuple) else f"a {type(given).__name__}"


def _shape(shape: Any) -> str:
    return "of its own" if shape is None else str(list(shape))


def _where(env: Any, name: str, pattern: str = "") -> str:
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
    """file:line of the deepest frame that is neither JAX's nor this file's."""
    own = (os.path.dirname(jax.__file__), __file__, autoreset.__file__)
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
