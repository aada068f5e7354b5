"""Pictures of bodies that MuJoCo draws without a display, by EGL or OSMesa."""

import importlib
import os
from collections.abc import Mapping
from ctypes.util import find_library
from typing import Any

import numpy as np

from rljax.errors import UsageError

LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
"""What MUJOCO_GL may say, and the library that it needs; in the order in which they are tried."""


def draw(
    name: str, model: Any, fields: Mapping[str, np.ndarray], width: int, height: int
) -> list[np.ndarray]:
    """Frames uint8 [height, width, 3] of a model, one for each of the T poses.

    `fields` are fields of an MjData, [T, ...]. The first camera of the model is used, and one that
    sees all of it where there is none. Raises UsageError where there is nothing to draw with.
    """
    import mujoco

    context = _context(name, width, height)
    context.make_current()
    try:
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        surface = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, surface)
        scene, camera, options = mujoco.MjvScene(model, 10_000), mujoco.MjvCamera(), None
        options = mujoco.MjvOption()
        mujoco.mjv_defaultFreeCamera(model, camera)
        if model.ncam:
            camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        area, data = mujoco.MjrRect(0, 0, width, height), mujoco.MjData(model)
        frames = []
        for t in range(len(fields["qpos"])):
            for field, values in fields.items():
                setattr(data, field, values[t])
            mujoco.mj_forward(model, data)
            mujoco.mjv_updateScene(
                model, data, options, None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene
            )
            mujoco.mjr_render(area, scene, surface)
            frame = np.empty((height, width, 3), np.uint8)
            mujoco.mjr_readPixels(frame, None, area, surface)
            frames.append(frame[::-1])  # OpenGL counts rows from below.
        surface.free()
        return frames
    finally:
        context.free()


def _context(name: str, width: int, height: int) -> Any:
    """Something for OpenGL to draw on; UsageError where there is nothing."""
    asked = os.environ.get("MUJOCO_GL", "").lower()
    kinds = [asked] if asked else [k for k, library in LIBRARIES.items() if find_library(library)]
    if not kinds:
        raise UsageError(
            f"{name} cannot be drawn: MuJoCo draws without a display by EGL or OSMesa, and there "
            "is neither; install one, as `apt-get install libegl1 libgl1-mesa-dri` does"
        )
    try:
        return importlib.import_module(f"mujoco.{kinds[0]}").GLContext(width, height)
    except Exception as error:  # Of drivers, in any form.
        raise UsageError(
            f"{name} cannot be drawn by MUJOCO_GL={kinds[0]}: {' '.join(str(error).split())}"
        ) from error
