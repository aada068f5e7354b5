"""Whether an environment keeps the protocol: what is wrong with it, where, and what to write.

>>> import rljax
>>> from rljax.envs.probes import Recall
>>> rljax.check_env(Recall())
[]
"""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import autoreset, spaces
from rljax.envs.action_masks import legal_actions, observed
from rljax.envs.agents import agent_axis, joint_space
from rljax.envs.check_types import changes, count_of, is_key, outside, parts, shape_of, unlike
from rljax.envs.findings import Finding, failure, where_is
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
            where = where_is(type(env), "__init__")
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
    where = where_is(env, "reset", RETURN)
    if not isinstance(given, tuple) or len(given) != 2:
        yield Finding(f"reset returns {count_of(given)}: write `return state, obs`", where)
        return
    seen = joint_space(env, env.observation_space)
    wrong = list(unlike(seen, given[1], where))
    if wrong and not any(unlike(seen, given[0], where)):
        yield Finding("reset returns obs before state: write `return state, obs`", where)
    else:
        yield from wrong


def _step(env: Any) -> Iterator[Finding]:
    state, obs = _strong(jax.eval_shape(env.reset, jax.random.key(0)))
    given, found = _trace(env, "step", jax.random.key(0), state, _some_action(env))
    yield from found
    if given is None:
        return
    where = where_is(env, "step", RETURN)
    if not isinstance(given, tuple) or len(given) != len(STEP):
        yield Finding(f"step returns {count_of(given)}: write `return {', '.join(STEP)}`", where)
        return
    for name, before, after in (("state", state, given[0]), ("obs", obs, given[1])):
        yield from changes(name, before, after, where)
    for name, value in zip(STEP[2:], given[2:], strict=True):
        shape = getattr(value, "shape", None)
        due = agent_axis(env) if name == "reward" else ()
        if shape != due and due:
            yield Finding(
                f"reward has shape {shape_of(shape)}, and should be {list(due)}: one for each of "
                f"the {due[0]} agents",
                where,
            )
        elif shape != due:
            yield Finding(
                f"{name} has shape {shape_of(shape)}, and should be one number []: an environment "
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
        yield Finding(str(error), where_is(env, "action_mask", RETURN))
    except Exception as error:  # Of whoever wrote the environment.
        yield failure(env, "action_mask", error)


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
                where_is(env, name, RANDOMNESS),
            )


def _starts(env: Any) -> Iterator[Finding]:
    keys = jax.random.split(jax.random.key(0), STARTS)
    try:
        begun = jax.jit(jax.vmap(lambda key: autoreset.reset(env, key)))(keys)
    except Exception as error:
        yield failure(env, "reset", error, "vmapped, ")
        return
    numbers = [x for x in jax.tree.leaves(begun) if not is_key(x)]
    if all(np.array_equal(x, np.broadcast_to(x[:1], x.shape)) for x in map(np.asarray, numbers)):
        yield Finding(
            f"{STARTS} episodes from different keys start the same: if that is not meant, draw the "
            "start with the key",
            where_is(env, "reset"),
            is_error=False,
        )


def _play(env: Any) -> Iterator[Finding]:
    try:
        seen = jax.device_get(jax.jit(lambda key: _episodes(env, key))(jax.random.key(0)))
    except Exception as error:
        yield failure(env, "step", error, "vmapped, ")
        return
    if seen["stuck"].any():
        yield Finding(
            "action_mask allows no action in a state in which the episode goes on: leave one legal "
            "action, or return terminated=True",
            where_is(env, "action_mask", RETURN),
        )
    where = where_is(env, "step", RETURN)
    all_observe = joint_space(env, env.observation_space)
    for path, space, low, high in parts(all_observe, seen["low"], seen["high"]):
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
    space = joint_space(env, env.action_space)
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
        return None, [Finding(f"{name}: {error}; write def {name}{wanted}", where_is(env, name))]
    try:
        given = jax.eval_shape(lambda *given: function(*given), *arguments)
    except Exception as error:  # Of whoever wrote the environment.
        return None, [failure(env, name, error)]
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
            where_is(env, name, rf"self\.{attribute}\b[^=]*=(?!=)"),
        )
        for attribute in written
    ]


def _some_action(env: Environment) -> jax.ShapeDtypeStruct:
    space = joint_space(env, env.action_space)
    return jax.ShapeDtypeStruct(space.shape, space.dtype)


def _strong(types: Any) -> Any:
    """Types as a loop carries them: no number is weakly typed."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), types)


def _program(env: Any, name: str, arguments: tuple) -> tuple[str, list[bytes]]:
    """What a function compiles to, and the numbers that have become part of it."""
    traced = jax.make_jaxpr(lambda *given: getattr(env, name)(*given))(*arguments)
    text = re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr))
    return text, [np.asarray(x).tobytes() for x in traced.consts if not is_key(x)]
