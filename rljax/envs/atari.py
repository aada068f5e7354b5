"""Atari games by ale-py, whose own vector environment preprocesses them in C++.

The preprocessing is that of Mnih et al. 2015 (https://www.nature.com/articles/nature14236), with
the sticky actions of Machado et al. 2018 (https://arxiv.org/abs/1709.06009).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rljax.envs import spaces
from rljax.envs.gymnasium import picture
from rljax.envs.simulators import HostEnvironment, Steps, described
from rljax.errors import UsageError, check_extra, nearest

SIZE = 84  # pixels
MAGNIFIED = 4  # times, in a picture


@dataclass(frozen=True)
class Options:
    """How a game is played; the defaults are those of Machado et al."""

    repeat_action_probability: float = 0.25
    """That the last action is taken again (sticky actions)."""
    episodic_life: bool = False
    """Whether the loss of a life is `terminated`. The game goes on, and its score as well."""
    clip_reward: bool = False
    """Whether rewards are -1, 0 and 1. The score is not clipped."""
    full_action_space: bool = False
    """All 18 actions, or those that do something in this game."""
    frame_skip: int = 4
    """How many frames an action lasts; the last two are combined by their maximum."""
    stack_num: int = 4
    """How many frames an observation holds."""
    noop_max: int = 30
    """Below how many frames of doing nothing a game begins with, at random."""
    fire_reset: bool = True
    """Press FIRE when a game begins, where there is such an action."""
    max_frames: int = 108_000
    """After how many frames a game is truncated: 30 minutes."""
    num_threads: int = 0
    """Of the vector environment; 0 for one a core, and at most one an environment."""
    render_mode: str = "rgb_array"
    """The only one there is."""


def make(game: str, **params: Any) -> HostEnvironment:
    """The game, such as `Pong` or `MontezumaRevenge`; `params` are the fields of `Options`.

    An observation is uint8 [84, 84, stack_num], grey, the newest frame last. Raises UsageError for
    a game or an option that nobody knows.
    """
    name = f"atari/{game}"
    check_extra(name, "atari", "ale_py")
    known = [*Options.__dataclass_fields__]
    for key in params:
        if key not in known:
            raise UsageError(f"{name} has no option {key!r}{nearest(key, known)}")
    return described(name, partial(Games, name, _rom(game), Options(**params)))


def _rom(game: str) -> str:
    from ale_py import roms

    known = {"".join(map(str.capitalize, id.split("_"))): id for id in roms.get_all_rom_ids()}
    if game not in known:
        raise UsageError(f"env 'atari/{game}' is not known{nearest(game, known)}")
    return known[game]


class Games:
    """N copies of one game, stepped together by the threads of ale-py.

    Where no game ended, `obs` and `next_obs` of a step are the same array.
    """

    def __init__(self, name: str, rom: str, options: Options, num_envs: int) -> None:
        from ale_py.vector_env import AtariVectorEnv

        self.name, self.num_envs, self._options = name, num_envs, options
        # `life_loss_info` reports a lost life and goes on, where `episodic_life` of ale-py would
        # begin another game.
        env: Any = AtariVectorEnv(
            rom,
            num_envs,
            num_threads=options.num_threads,
            max_num_frames_per_episode=options.max_frames,
            repeat_action_probability=options.repeat_action_probability,
            full_action_space=options.full_action_space,
            autoreset_mode="SameStep",
            img_height=SIZE,
            img_width=SIZE,
            stack_num=options.stack_num,
            frameskip=options.frame_skip,
            noop_max=options.noop_max,
            life_loss_info=options.episodic_life,
            reward_clipping=False,
            use_fire_reset=options.fire_reset,
        )
        self._env = env
        self._begun = np.zeros(num_envs, np.int32)
        self._frame = np.zeros((SIZE, SIZE), np.uint8)
        shape = (SIZE, SIZE, options.stack_num)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = spaces.Discrete(int(env.single_action_space.n))

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin N games, number i with seeds[i]: observations uint8 [N, 84, 84, stack_num]."""
        obs, info = self._env.reset(seed=np.array([int(seed) for seed in seeds]))
        self._begun = _first_frames(info)
        return self._batch(obs)

    def step(self, actions: np.ndarray) -> Steps:
        """Step all games by actions [N]."""
        seen, score, terminated, truncated, info = self._env.step(np.array(actions, np.int32))
        begun = _first_frames(info)
        over, self._begun = begun != self._begun, begun
        obs = last = self._batch(seen)
        if over.any():
            last = obs.copy()
            last[over] = np.moveaxis(info["final_obs"][over], 1, -1)
        score = np.array(score, np.float32)
        return Steps(
            obs,
            np.sign(score) if self._options.clip_reward else score.copy(),
            np.array(terminated),
            truncated & ~terminated,
            last,
            score,
            over,
        )

    def render(self) -> np.ndarray:
        """The newest frame of the first game as agents see it, enlarged: uint8 [336, 336, 3]."""
        big = self._frame.repeat(MAGNIFIED, 0).repeat(MAGNIFIED, 1)
        return picture(self.name, self._options.render_mode, lambda: np.stack([big] * 3, -1))

    def close(self) -> None:
        """End the games and their threads."""
        self._env = None  # It ends its threads when nobody holds it.

    def _batch(self, obs: np.ndarray) -> np.ndarray:
        batch = np.ascontiguousarray(np.moveaxis(obs, 1, -1))
        self._frame = batch[0, :, :, -1]
        return batch


def _first_frames(info: dict[str, np.ndarray]) -> np.ndarray:
    """The number of the frame before each game began, which tells one game from the next."""
    return info["frame_number"] - info["episode_frame_number"]
