"""Environments of Gymnasium: those with an id, and those that a function makes.

Importing Gymnasium happens in the functions, because most people do not need it.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from rljax.envs import conversion
from rljax.envs.simulators import HostEnvironment, Steps, described
from rljax.errors import UsageError, check_extra, nearest
from rljax.types import Obs


def make(id: str, **params: Any) -> HostEnvironment:
    """The environment that Gymnasium has registered as `id`; `params` are those of gymnasium.make.

    An id such as `ale_py:ALE/Pong-v5` imports the module that registers it. Raises UsageError for
    an id that is not registered, with the nearest one, and for spaces that rljax does not have.
    """
    name = f"gymnasium/{id}"
    check_extra(name, "gymnasium", "gymnasium")
    return described(name, partial(Loop, name, partial(_make, id, params)))


def from_function(function: Callable[..., Any]) -> HostEnvironment:
    """The environments that a function makes.

    Args:
        function: takes no arguments and returns a gymnasium.Env; it is called once for each
            environment. Or it takes `num_envs`, and returns a gymnasium.vector.VectorEnv.

    Raises UsageError for a function that takes or returns anything else.
    """
    name = getattr(getattr(function, "func", function), "__name__", type(function).__name__)
    check_extra(name, "gymnasium", "gymnasium")
    parameters = inspect.signature(function).parameters
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind < 2]
    needed += [p.name for p in parameters.values() if p.default is p.empty and p.kind == 3]
    if set(needed) - {"num_envs"}:
        raise UsageError(
            f"{name} takes {', '.join(needed)}: write a function of no arguments that returns a "
            "gymnasium.Env, or of num_envs that returns a gymnasium.vector.VectorEnv"
        )
    kind = Vector if "num_envs" in parameters else Loop
    return described(name, partial(kind, name, function))


def _make(id: str, params: dict[str, Any]) -> Any:
    import gymnasium

    try:
        return gymnasium.make(id, **{"disable_env_checker": True, **params})
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv):
        raise UsageError(
            f"env 'gymnasium/{id}' is not registered{nearest(id, gymnasium.registry)}"
        ) from None
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise UsageError(f"gymnasium/{id} cannot be made: {error}") from error
    except TypeError as error:
        if not params:
            raise
        raise UsageError(
            f"gymnasium/{id} cannot be made with {', '.join(params)}: {error}"
        ) from error


class Loop:
    """N environments that are stepped one after the other, on the thread that asks.

    Where no episode ended, `obs` and `next_obs` of a step are the same array.
    """

    def __init__(self, name: str, make: Callable[[], Any], num_envs: int) -> None:
        import gymnasium

        self.name, self.num_envs = name, num_envs
        self._envs = [make() for _ in range(num_envs)]
        first = self._envs[0]
        if not isinstance(first, gymnasium.Env):
            raise UsageError(
                f"{name} returns a {type(first).__name__}: return a gymnasium.Env, or take "
                "num_envs and return a gymnasium.vector.VectorEnv"
            )
        self._observations, self._actions = first.observation_space, first.action_space
        for env in self._envs:
            if (env.observation_space, env.action_space) != (self._observations, self._actions):
                raise UsageError(
                    f"{name} makes environments of different spaces: the first has "
                    f"{self._observations} and {self._actions}, another has "
                    f"{env.observation_space} and {env.action_space}"
                )
        self.observation_space = conversion.observation_space(self._observations, name)
        self.action_space = conversion.action_space(self._actions, name)

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, ...]."""
        begun = zip(self._envs, seeds, strict=True)
        return self._batch([env.reset(seed=int(seed))[0] for env, seed in begun])

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, ...]."""
        given: Any = conversion.actions(self._actions, actions)
        if given.ndim == 1:
            given = given.tolist()  # Python's numbers are what environments are fastest with.
        stepped = [env.step(action) for env, action in zip(self._envs, given, strict=True)]
        seen, rewards, ends, cuts, _ = zip(*stepped, strict=True)
        obs = last = self._batch(seen)
        terminated, truncated = np.array(ends, bool), np.array(cuts, bool)
        over = terminated | truncated
        if over.any():
            obs = conversion.copied(last)
            for i in np.flatnonzero(over).tolist():
                conversion.write(self._observations, obs, i, self._envs[i].reset()[0])
        reward = np.array(rewards, np.float32).reshape(self.num_envs)
        return Steps(obs, reward, terminated, truncated & ~terminated, last, reward.copy(), over)

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3].

        Raises UsageError if it was made without render_mode="rgb_array".
        """
        return picture(self.name, self._envs[0].render_mode, self._envs[0].render)

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()

    def _batch(self, observations: Sequence[Any]) -> Obs:
        return conversion.rows(self._observations, self.observation_space, observations)


class Vector:
    """A VectorEnv of Gymnasium, whichever way it resets by itself.

    One in the mode NEXT_STEP would spend a step on each reset, in which its action does nothing. So
    what has ended is reset at once, by a mask, which Gymnasium's own classes can do.
    """

    def __init__(self, name: str, make: Callable[..., Any], num_envs: int) -> None:
        from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

        self.name, self.num_envs = name, num_envs
        self._env = env = make(num_envs=num_envs)
        if not isinstance(env, VectorEnv):
            raise UsageError(
                f"{name} returns a {type(env).__name__}: a function of num_envs returns a "
                "gymnasium.vector.VectorEnv, and one of no arguments a gymnasium.Env"
            )
        if env.num_envs != num_envs:
            raise UsageError(
                f"{name} returns {env.num_envs} environments for num_envs={num_envs}: it must "
                "return as many as it is asked for"
            )
        mode = env.metadata.get("autoreset_mode")
        own = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED) and not own:
            raise UsageError(
                f'{name} has the autoreset mode {mode}: set metadata["autoreset_mode"] to '
                "AutoresetMode.SAME_STEP or DISABLED and reset accordingly, or write a function "
                "of no arguments that returns one gymnasium.Env"
            )
        self._same_step = mode == AutoresetMode.SAME_STEP
        self._observations, self._actions = env.single_observation_space, env.single_action_space
        self.observation_space = conversion.observation_space(self._observations, name)
        self.action_space = conversion.action_space(self._actions, name)

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, ...]."""
        return self._batch(self._env.reset(seed=[int(seed) for seed in seeds])[0])

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, ...]."""
        seen, reward, terminated, truncated, info = self._env.step(
            conversion.actions(self._actions, actions)
        )
        obs = last = self._batch(seen)
        reward = np.array(reward, np.float32)
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        over = terminated | truncated
        if over.any() and self._same_step:
            if "final_obs" not in info:
                raise UsageError(
                    f"{self.name} has the autoreset mode SAME_STEP, but where an episode ended "
                    'there is no info["final_obs"]: write the last observations there'
                )
            last = conversion.copied(obs)
            for i in np.flatnonzero(over).tolist():
                final = conversion.row(info["final_obs"], i)
                conversion.write(self._observations, last, i, final)
        elif over.any():
            begun = self._env.reset(options={"reset_mask": over.copy()})[0]
            obs = conversion.copied(last)
            for i in np.flatnonzero(over).tolist():
                conversion.write(self._observations, obs, i, conversion.row(begun, i))
        return Steps(obs, reward, terminated, truncated & ~terminated, last, reward.copy(), over)

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3].

        Raises UsageError if it was made without render_mode="rgb_array".
        """
        return picture(self.name, self._env.render_mode, lambda: self._env.render()[0])

    def close(self) -> None:
        """Close the VectorEnv."""
        self._env.close()

    def _batch(self, obs: Any) -> Obs:
        return conversion.batched(self._observations, self.observation_space, obs)


def picture(name: str, mode: str | None, render: Callable[[], Any]) -> np.ndarray:
    """What `render` draws, if the render mode is one that gives pictures; else UsageError."""
    if mode != "rgb_array":
        raise UsageError(
            f'{name} cannot be drawn with render_mode={mode!r}: make it with "rgb_array"'
        )
    return np.asarray(render(), np.uint8)
