"""Pictures of an agent at play: an episode's states to RGB frames, and frames to a looping GIF."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rljax.analysis.drawings import arcade, control, games, maps, particles
from rljax.analysis.drawings.canvas import FINE, GREY, HEADER, WIDTH, Drawing
from rljax.envs import GRID_WORLDS, NAMES, PARTICLES
from rljax.errors import RunError, UsageError, ceil_div

if TYPE_CHECKING:
    from rljax.types import Environment

PACE, SLOW = 30, 4  # frames per second; slow where each step crosses a whole cell or is a move


_SLOW = {**maps.DRAWINGS, **games.DRAWINGS}
_DRAWINGS = {**control.DRAWINGS, **arcade.DRAWINGS, **particles.DRAWINGS, **_SLOW}


def drawable() -> tuple[str, ...]:
    """Names of the environments that can be drawn; a grid world by any other name can be, too."""
    return tuple(name for name in NAMES if name in GRID_WORLDS or _named(name, _DRAWINGS))


def pace(env: "Environment") -> int:
    """Frames per second to watch an episode at: few where each step crosses a whole cell."""
    if hasattr(env, "cells") or _named(env.name, _SLOW):
        return SLOW
    return 10 if env.name in PARTICLES else PACE  # in the time that passes for them


def frames(
    env: "Environment", states: Any, observations: np.ndarray, returns: np.ndarray
) -> list[np.ndarray]:
    """Draw one uint8 [HEIGHT, WIDTH, 3] frame per step.

    `states` is the state of `env` with leaves [T, ...]; `observations` is [T, ...]; `returns` is
    the return so far, [T] or, of several teams, [T, teams]. A grid world is drawn by its `cells`,
    any other environment by its name. Raises UsageError, a ValueError, for one that cannot be
    drawn.
    """
    drawing = maps.grid_world if hasattr(env, "cells") else _named(env.name, _DRAWINGS)
    if drawing is None:
        raise UsageError(f"{env.name} cannot be drawn; those that can are {', '.join(drawable())}")
    leaves = states._asdict() if hasattr(states, "_asdict") else vars(states)
    pictures = []
    for t, (observation, total) in enumerate(zip(observations, returns, strict=True)):
        # Without the fields that are (), because an environment has nothing to keep there.
        state = SimpleNamespace(**{k: leaf[t] for k, leaf in leaves.items() if len(leaf)})
        canvas = drawing(env, state, observation)
        # Adding zero turns -0.0 into 0.0.
        scores = [f"{round(float(one), 2) + 0.0:.10g}" for one in np.atleast_1d(total)]
        canvas.text(16, HEADER / 2, f"step {int(state.time)}   return {', '.join(scores)}")
        canvas.text(WIDTH - 16, HEADER / 2, env.name, GREY, "rm")
        pictures.append(np.asarray(canvas.image.reduce(FINE)))
    return pictures


def _named(name: str, drawings: dict[str, Drawing]) -> Drawing | None:
    """The drawing of an environment, by its name or by what stands before sizes in it."""
    return drawings.get(name) or drawings.get(re.split(r"\d", name)[0])


def save_gif(frames: Sequence[np.ndarray], path: str | Path, fps: float = PACE) -> None:
    """Write uint8 [H, W, 3] frames as a GIF that loops for ever, `fps` (at most 50) a second.

    Raises UsageError for another name or no frames, RunError where it cannot be written.
    """
    if Path(path).suffix.lower() != ".gif":
        raise UsageError(f"{path} must end in .gif")
    if len(frames) == 0:
        raise UsageError(f"there are no frames to write to {path}")
    # One palette for all frames keeps still pixels equal, so that only changes are stored.
    # Each distinct colour counts once in it, or small things would lose theirs to the paper.
    sample = np.stack(frames[:: ceil_div(len(frames), 32)]).reshape(-1, 3).astype(np.uint32)
    packed = np.unique(sample @ np.array([1 << 16, 1 << 8, 1], np.uint32))
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)
    sheet = Image.fromarray(colours.astype(np.uint8)[None])
    palette = sheet.quantize(255, method=Image.Quantize.MAXCOVERAGE)
    plain = Image.Dither.NONE
    first, *rest = (Image.fromarray(f).quantize(palette=palette, dither=plain) for f in frames)
    # Viewers slow a frame shorter than 20 ms down to 100 ms.
    pause = max(20, round(1000 / fps))
    try:
        first.save(path, save_all=True, append_images=rest, loop=0, duration=pause, optimize=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
