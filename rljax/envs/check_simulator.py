"""Whether a simulator of the host keeps its protocol: it is reset and played at random."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from rljax.envs import spaces
from rljax.envs.action_masks import legal_actions, observed
from rljax.envs.agents import agent_axis, joint_space
from rljax.envs.check_types import outside, parts
from rljax.envs.findings import Finding
from rljax.envs.simulators import HostEnvironment, Simulator, Steps
from rljax.types import HasActionMask, Obs

NUM_ENVS = 4
REPLAYED = 100  # steps, each from two resets with the same seeds
STEPS, EPISODES = 2000, 8  # played on, until so many have ended
NUMBERS = ("reward", "score")
FLAGS = ("terminated", "truncated", "over")


def check_simulator(env: HostEnvironment) -> list[Finding]:
    """What is wrong with a simulator, the first kind of errors only, and what is doubtful.

    4 copies play up to 2,000 steps of random actions. What is checked: shapes, dtypes and bounds;
    that seeds reproduce what happens; that the last observation of an episode is not the first of
    the next; and that no array is written again after it was handed over.
    """
    try:
        simulator = env.simulator(NUM_ENVS)
    except Exception as error:  # Of whoever wrote the environment.
        return [_raised(f"making {NUM_ENVS} environments", error)]
    try:
        return _examined(env, simulator)
    finally:
        simulator.close()


def _examined(env: HostEnvironment, simulator: Simulator) -> list[Finding]:
    where = "reset"
    try:
        first = simulator.reset(_seeds(0))
        if found := list(_unlike(env, first, "obs after reset")):
            return found
        where = "step"
        played = _play(env, simulator, first, REPLAYED)
        if found := played.found:
            return found
        again = simulator.reset(_seeds(0))
        replayed = _play(env, simulator, again, REPLAYED)
        found = list(_differences((first, played.steps), (again, replayed.steps)))
        if found:
            return found
        other = simulator.reset(_seeds(NUM_ENVS))
        on = _play(env, simulator, other, STEPS, EPISODES)
    except Exception as error:
        return [_raised(where, error)]
    found = on.found or [*_bounds(env, on.low, on.high), *_ends(on)]
    if not any(finding.is_error for finding in found):
        found += _starts((first, played.steps), (other, on.steps[:REPLAYED]))
    return found


class _Played:
    """What some steps gave: the first of them, and ranges and ends of all."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.steps: list[Steps] = []  # the first REPLAYED, copied
        self.low: Any = None
        self.high: Any = None
        self.ended = 0
        self.changed_at_the_end = 0


def _play(
    env: HostEnvironment, simulator: Simulator, obs: Obs, count: int, episodes: int | None = None
) -> _Played:
    """Take `count` random steps from `obs`, or until `episodes` have ended, and check each.

    Where observations are the same, so are the actions.
    """
    played, rng = _Played(), np.random.default_rng(0)
    handed: list[Steps] = []
    for _ in range(count):
        steps = simulator.step(_random_actions(env, rng, legal_actions(obs)))
        played.found = list(_wrong(env, steps))
        if played.found:
            return played
        if len(handed) < REPLAYED:
            handed.append(steps)
            played.steps.append(jax.tree.map(np.copy, steps))
        obs, both = steps.obs, (steps.obs, steps.next_obs)
        for seen in both:
            # NaN is handed on by both.
            played.low = _merged(np.minimum, played.low, jax.tree.map(lambda x: x.min(0), seen))
            played.high = _merged(np.maximum, played.high, jax.tree.map(lambda x: x.max(0), seen))
        for i in np.flatnonzero(steps.over):
            played.ended += 1
            same = jax.tree.map(lambda a, b, i=i: np.array_equal(a[i], b[i]), *both)
            played.changed_at_the_end += not all(jax.tree.leaves(same))
        if episodes is not None and played.ended >= episodes:
            break
    for t, (now, then) in enumerate(zip(handed, played.steps, strict=True)):
        if not _equal(now, then):
            name = next(n for n in Steps._fields if not _equal(getattr(now, n), getattr(then, n)))
            played.found = [
                Finding(
                    f"{name} of step {t} changed after it was handed over: give an array of its "
                    "own in each step"
                )
            ]
            break
    return played


def _merged(function: Any, before: Any, new: Any) -> Any:
    return new if before is None else jax.tree.map(function, before, new)


def _wrong(env: HostEnvironment, steps: Any) -> Iterator[Finding]:
    """What is wrong with a single step."""
    if not isinstance(steps, Steps):
        yield Finding(f"step returns a {type(steps).__name__}: return rljax.envs.simulators.Steps")
        return
    seen = ("obs", "next_obs")
    if found := [finding for name in seen for finding in _unlike(env, getattr(steps, name), name)]:
        yield from found
        return
    for name, dtype in [*((n, np.float32) for n in NUMBERS), *((n, np.bool_) for n in FLAGS)]:
        value = getattr(steps, name)
        kind = (getattr(value, "shape", None), getattr(value, "dtype", None))
        agents = agent_axis(env) if name == "reward" else ()
        if not isinstance(value, np.ndarray) or kind != ((NUM_ENVS, *agents), np.dtype(dtype)):
            each = "each agent of " if agents else ""
            yield Finding(
                f"{name} is {_kind(value)}, and should be {np.dtype(dtype)} "
                f"{[NUM_ENVS, *agents]}, one for {each}each environment"
            )
            return
    legal = legal_actions(steps.obs)
    if legal is not None and not legal.any(-1).all():
        yield Finding("action_mask of obs allows no action: leave one legal action for each agent")
    for name in NUMBERS:
        if not np.isfinite(getattr(steps, name)).all():
            yield Finding(f"{name} becomes NaN or infinite under random actions")
    ended = steps.terminated | steps.truncated
    if np.any(steps.terminated & steps.truncated):
        yield Finding("a step is terminated and truncated: where both are meant, it is terminated")
    if np.any(steps.over & ~ended):
        yield Finding("an episode is over that is neither terminated nor truncated")
    for path, _, obs, last in _parts(env, steps.obs, steps.next_obs):
        if not np.array_equal(obs[~ended], last[~ended], equal_nan=obs.dtype.kind == "f"):
            yield Finding(
                f"{path} and next_{path} differ where no episode ended: what to act on next is "
                "what the step led to"
            )


def _parts(env: HostEnvironment, *observations: Obs, path: str = "obs") -> Iterator[tuple]:
    """The parts of observations, and as one more their mask, where there is one."""
    space = joint_space(env, env.observation_space)
    yield from parts(space, *map(observed, observations), path=path)
    if isinstance(env, HasActionMask):
        mask = joint_space(env, spaces.Box(0, 1, (env.action_space.n,), np.bool_))  # type: ignore[union-attr]
        yield f"action_mask of {path}", mask, *map(legal_actions, observations)


def _unlike(env: HostEnvironment, obs: Obs, name: str) -> Iterator[Finding]:
    for path, part, value in _parts(env, obs, path=name):
        shape = (NUM_ENVS, *part.shape)
        is_array = isinstance(value, np.ndarray)
        if not is_array or value.shape != shape or value.dtype != np.dtype(part.dtype):
            yield Finding(
                f"{path} is {_kind(value)}, and its space says {np.dtype(part.dtype)} "
                f"{list(shape)} for {NUM_ENVS} environments"
            )


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}"


def _differences(one: tuple[Obs, list[Steps]], two: tuple[Obs, list[Steps]]) -> Iterator[Finding]:
    """What differs between two resets with the same seeds, and the same actions."""
    if not _equal(one[0], two[0]):
        yield Finding(
            "two resets with the same seeds give different observations: draw all random numbers "
            "from the seed"
        )
        return
    for t, (a, b) in enumerate(zip(one[1], two[1], strict=True)):
        for name in Steps._fields:
            if not _equal(getattr(a, name), getattr(b, name)):
                yield Finding(
                    f"{name} of step {t} differs after two resets with the same seeds, and the "
                    "same actions: draw all random numbers from the seed, and let reset forget "
                    "everything"
                )
                return


def _bounds(env: HostEnvironment, low: Any, high: Any) -> Iterator[Finding]:
    for path, part, least, most in _parts(env, low, high):
        yield from outside(path, part, least, most, "")


def _ends(played: _Played) -> Iterator[Finding]:
    if not played.ended:
        yield Finding(
            f"no episode ended in {STEPS:,} steps of random actions: truncate at a time limit, or "
            "nothing is ever known of whole episodes",
            is_error=False,
        )
    elif not played.changed_at_the_end:
        yield Finding(
            "next_obs is always the first observation of the next episode where one ended: give "
            "the last observation before the reset, from which a truncated episode bootstraps",
            is_error=False,
        )


def _starts(one: tuple[Obs, list[Steps]], two: tuple[Obs, list[Steps]]) -> list[Finding]:
    both = list(zip(one[1], two[1], strict=False))
    if not _equal(one[0], two[0]) or not all(_equal(a, b) for a, b in both):
        return []
    return [
        Finding(
            "episodes from different seeds are the same: if that is not meant, use the seed",
            is_error=False,
        )
    ]


def _seeds(first: int) -> list[int]:
    return list(range(first, first + NUM_ENVS))


def _random_actions(env: HostEnvironment, rng: np.random.Generator, legal: Any) -> np.ndarray:
    """Legal actions [N, ...] anywhere in their space; around 0 where that has no bounds."""
    space = joint_space(env, env.action_space)
    shape = (NUM_ENVS, *space.shape)
    if legal is not None:
        return np.argmax(np.where(legal, rng.random(legal.shape), -1), axis=-1).astype(space.dtype)
    if isinstance(space, spaces.Discrete):
        return rng.integers(0, space.n, shape).astype(space.dtype)
    assert isinstance(space, spaces.Box)
    low, high = (np.clip(bound, -1e6, 1e6) for bound in (space.low, space.high))
    bounded = np.isfinite(space.low) & np.isfinite(space.high)
    normal = np.clip(rng.normal(size=shape), low, high)
    return np.where(bounded, rng.uniform(low, high, shape), normal).astype(space.dtype)


def _equal(one: Any, two: Any) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in leaves)


def _raised(where: str, error: Exception) -> Finding:
    text = " ".join(str(error).split())[:300]
    return Finding(f"{where} raises {type(error).__name__}: {text}")
