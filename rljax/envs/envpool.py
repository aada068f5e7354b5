"""Environments of EnvPool: simulators in C++, N of them stepped together by its threads."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from rljax.envs import conversion
from rljax.envs.gymnasium import picture
from rljax.envs.simulators import HostEnvironment, Steps, described
from rljax.errors import UsageError, check_extra, nearest
from rljax.types import Obs

OURS = ("num_envs", "batch_size", "env_type", "seed")
"""Options of envpool.make that the simulator sets itself."""


def make(id: str, **params: Any) -> HostEnvironment:
    """The environment that EnvPool calls `id`; `params` are its own options.

    Those of Atari are `episodic_life`, `reward_clip`, `stack_num`, `noop_max`, `frame_skip`,
    `repeat_action_probability`, `full_action_space` and others, with EnvPool's own defaults. Images
    have their channels last. Raises UsageError for an id or option that EnvPool does not know.
    """
    name = f"envpool/{id}"
    check_extra(name, "envpool", "envpool")
    for key in OURS:
        if key in params:
            raise UsageError(f"{name} cannot be made with {key}: the simulator sets it itself")
    return described(name, partial(Pool, name, id, params))


def _spec(name: str, id: str, params: dict[str, Any]) -> Any:
    import envpool

    known = envpool.list_all_envs()
    if id not in known:
        raise UsageError(f"env {name!r} is not registered{nearest(id, known)}")
    wanted = {key: value for key, value in params.items() if key != "render_mode"}
    try:
        spec = envpool.make_spec(id, **wanted)
    except ImportError as error:
        raise UsageError(f"{name} cannot be made: {error}") from error
    except TypeError as error:
        options = [key for key in envpool.make_spec(id).config._fields if key not in OURS]
        for key in wanted:
            if key not in options:
                raise UsageError(f"{name} has no option {key!r}{nearest(key, options)}") from None
        raise UsageError(
            f"{name} cannot be made with {wanted}: an option has a value of the wrong type"
        ) from error
    if spec.config.max_num_players > 1:
        raise UsageError(f"{name} has several players, and rljax steps simulators of one")
    return spec


class Pool:
    """A pool in which all environments are stepped together.

    What ended is stepped once more at once, on its own, which is how EnvPool resets. So no step is
    spent on a reset, and a game goes on after a life is lost. Where no episode ended, `obs` and
    `next_obs` of a step are the same array.
    """

    def __init__(self, name: str, id: str, params: dict[str, Any], num_envs: int) -> None:
        spec = _spec(name, id, params)
        self.name, self.num_envs = name, num_envs
        self._id, self._params = id, params
        self._pool: Any = None
        self._is_atari = hasattr(spec.config, "episodic_life")
        self._given, self._actions = spec.gymnasium_observation_space, spec.gymnasium_action_space
        self._observations = _corrected(self._given)
        self.observation_space = conversion.observation_space(self._observations, name)
        self.action_space = conversion.action_space(self._actions, name)

    def reset(self, seeds: Sequence[int]) -> Obs:
        """Begin N episodes, environment i with seeds[i]: observations [N, ...].

        A pool takes seeds only when it is made, so this makes a new one.
        """
        import envpool

        self.close()
        self._pool = pool = envpool.make(
            self._id,
            env_type="gymnasium",
            num_envs=self.num_envs,
            seed=[int(seed) for seed in seeds],
            **self._params,
        )
        return self._batch(pool.reset()[0])

    def step(self, actions: np.ndarray) -> Steps:
        """Step all environments by actions [N, ...]."""
        pool = self._pool
        given = conversion.actions(self._actions, actions)
        seen, reward, terminated, truncated, info = pool.step(given)
        last = self._batch(seen)
        ended = over = terminated | truncated
        score = reward
        if self._is_atari:
            score, game_over = info["reward"], info["terminated"].astype(bool)
            terminated, over = terminated | game_over, game_over | truncated
        obs = last
        if ended.any():
            ids = np.flatnonzero(ended).astype(np.int32)
            begun, _, _, _, info = pool.step(given[ids], ids)
            obs = conversion.copied(last)
            _assign(obs, info["env_id"], self._batch(begun))
        return Steps(
            obs,
            np.array(reward, np.float32),
            terminated,
            truncated & ~terminated,
            last,
            np.array(score, np.float32),
            over.copy(),
        )

    def render(self) -> np.ndarray:
        """A picture of the first environment, uint8 [height, width, 3].

        Raises UsageError if it was made without render_mode="rgb_array".
        """
        pool = self._pool
        return picture(self.name, self._params.get("render_mode"), lambda: pool.render()[0])

    def close(self) -> None:
        """End the pool and its threads."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _batch(self, obs: Any) -> Obs:
        moved = _moved(self._given, self._observations, obs)
        return conversion.batched(self._observations, self.observation_space, moved)


def _corrected(space: Any) -> Any:
    """The space with channels of images last, where EnvPool has them first.

    Where EnvPool means that there is no bound, it says that the lower one is the smallest positive
    number.
    """
    from gymnasium import spaces as theirs

    if isinstance(space, theirs.Dict):
        return theirs.Dict({key: _corrected(part) for key, part in space.spaces.items()})
    if space.dtype == np.float64:
        none = np.finfo(np.float64).tiny
        return theirs.Box(
            np.where(space.low == none, -np.inf, space.low), space.high, dtype=np.float64
        )
    if space.dtype != np.uint8 or len(space.shape) != 3 or space.shape[0] >= min(space.shape[1:]):
        return space
    low, high = (np.moveaxis(bound, 0, -1) for bound in (space.low, space.high))
    return theirs.Box(low, high, dtype=np.uint8)


def _moved(before: Any, after: Any, obs: Any) -> Any:
    """Observations [N, ...] of one space as those of the other, which has channels last."""
    if isinstance(obs, dict):
        return {
            key: _moved(part, after.spaces[key], obs[key]) for key, part in before.spaces.items()
        }
    return obs if before.shape == after.shape else np.moveaxis(obs, 1, -1)


def _assign(batch: Obs, rows: np.ndarray, new: Obs) -> None:
    if isinstance(batch, dict):
        for key, part in batch.items():
            _assign(part, rows, new[key])
    else:
        batch[rows] = new
