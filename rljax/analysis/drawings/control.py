"""Pictures of what moves in a plane: classic control, and a point on its way to a goal."""

from functools import partial
from typing import Any

import numpy as np

from rljax.analysis.drawings.canvas import (
    BLUE,
    GREEN,
    GREY,
    HEADER,
    HEIGHT,
    INK,
    ORANGE,
    PALE,
    SKY,
    VERMILION,
    WIDTH,
    Canvas,
    Drawing,
    circle,
)


def _cartpole(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    canvas = Canvas((WIDTH / 2, 225), 88)
    x, theta = float(state.x), float(state.theta)
    canvas.line([(-3, 0), (3, 0)], GREY)
    for limit in (-2.4, 2.4):
        canvas.line([(limit, -0.12), (limit, 0.12)], GREY)
    canvas.box(x - 0.22, -0.13, 0.44, 0.26, INK)
    axle = np.array([x, 0.06])
    canvas.rod(axle, axle + circle(np.pi / 2 - theta), 0.08, ORANGE)  # positive leans right
    canvas.disc(axle, 0.045, BLUE)
    return canvas


def _acrobot(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    canvas = Canvas((WIDTH / 2, HEADER + 145), 66)
    canvas.line([(-4, 1), (4, 1)], GREY)
    canvas.text(16, HEADER + 90, "goal height", GREY)
    # The second angle is measured from the first link, and both are zero hanging down.
    first = float(state.joint_angle1) - np.pi / 2
    elbow = circle(first)
    canvas.rod((0, 0), elbow, 0.2, BLUE)
    canvas.rod(elbow, elbow + circle(first + float(state.joint_angle2)), 0.2, SKY)
    for joint in ((0, 0), elbow):
        canvas.disc(joint, 0.07, INK)
    return canvas


def _track(x: Any) -> np.ndarray:
    """Points [..., 2] of the mountain's surface at positions `x`."""
    return np.stack([x, np.sin(3 * x) * 0.45 + 0.55], axis=-1)


def _mountain_car(goal: float, _: Any, state: Any, obs: np.ndarray) -> Canvas:
    canvas = Canvas((WIDTH / 2 + 72, HEIGHT), 240)
    surface = _track(np.linspace(-1.35, 0.75, 100))
    canvas.polygon([(-1.35, -0.1), *surface, (0.75, -0.1)], PALE)
    canvas.line(surface, INK, 2)
    base, flag = _track(goal), [(0, 0.15), (0.08, 0.12), (0, 0.09)]
    canvas.line([base, base + (0, 0.15)], INK)
    canvas.polygon(base + flag, ORANGE)
    x = float(state.position)
    slope = np.arctan(1.35 * np.cos(3 * x))
    foot, along, normal = _track(x), circle(slope), circle(slope + np.pi / 2)
    body = [(-0.07, 0.025), (0.07, 0.025), (0.07, 0.055), (0.035, 0.085), (-0.07, 0.085)]
    canvas.polygon([foot + u * along + v * normal for u, v in body], BLUE)
    for u in (-0.04, 0.04):
        hub = foot + u * along + 0.026 * normal
        canvas.disc(hub, 0.026, INK)
        canvas.disc(hub, 0.01, PALE)
    return canvas


def _pendulum(_: Any, state: Any, obs: np.ndarray) -> Canvas:
    canvas = Canvas((WIDTH / 2, HEADER + 144), 116)
    # Zero is upright and positive is counter-clockwise, for the angle and for the torque.
    angle, torque = float(state.theta) + np.pi / 2, float(np.squeeze(state.last_u))
    canvas.rod((0, 0), circle(angle), 0.2, VERMILION)
    canvas.disc((0, 0), 0.06, INK)
    if abs(torque) > 0.05:
        end = angle + torque * np.pi / 3
        canvas.line(circle(np.linspace(angle, end, 24), 0.55), INK, 3)
        point = circle(end, 0.55) + np.sign(torque) * circle(end + np.pi / 2, 0.14)
        canvas.polygon([point, circle(end, 0.48), circle(end, 0.62)], INK)
    return canvas


def _point(env: Any, state: Any, _: np.ndarray) -> Canvas:
    canvas = Canvas((WIDTH / 2, HEADER + 142), 130)
    canvas.box(-1, -1, 2, 2, PALE)
    canvas.disc(state.goal, env.radius, GREEN)
    canvas.disc(state.now, 0.04, BLUE)
    return canvas


DRAWINGS: dict[str, Drawing] = {
    "CartPole-v1": _cartpole,
    "Acrobot-v1": _acrobot,
    "MountainCar-v0": partial(_mountain_car, 0.5),
    "MountainCarContinuous-v0": partial(_mountain_car, 0.45),
    "Pendulum-v1": _pendulum,
    "PointReach": _point,
}
