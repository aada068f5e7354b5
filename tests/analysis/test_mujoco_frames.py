"""MuJoCo's pictures of poses, without a display."""

import mujoco
import numpy as np
import pytest

from rljax.analysis import mujoco_frames
from rljax.errors import UsageError

BALL = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0"/></visual>
  <worldbody>
    <camera pos="0 -4 0" xyaxes="1 0 0 0 0 1"/>
    <body><joint type="slide" axis="1 0 0"/><geom size=".2" rgba="1 0 0 1"/></body>
  </worldbody>
</mujoco>
"""


def test_a_ball_is_drawn_where_it_is():
    model = mujoco.MjModel.from_xml_string(BALL)
    poses = {"qpos": np.array([[-0.8], [0.0], [0.8]]), "qvel": np.zeros((3, 1))}
    try:
        frames = mujoco_frames.draw("ball", model, poses, 96, 64)
    except UsageError as error:  # A machine without EGL and OSMesa.
        pytest.skip(str(error))
    columns = []
    for frame in frames:
        assert frame.shape == (64, 96, 3) and frame.dtype == np.uint8
        rows, across = np.nonzero(frame[..., 0] > 100)
        assert abs(rows.mean() - 31.5) < 1
        columns.append(across.mean())
    assert columns[1] == pytest.approx(47.5, abs=1)
    assert columns[2] - columns[1] == pytest.approx(columns[1] - columns[0], abs=1) and (
        columns[2] - columns[1] > 10
    )


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [("", "ball cannot be drawn: .* EGL or OSMesa, and there is neither"), ("soap", "GL=soap: ")],
)
def test_where_nothing_can_be_drawn_a_sentence_says_so(monkeypatch, asked, sentence):
    monkeypatch.setattr(mujoco_frames, "find_library", lambda name: None)
    monkeypatch.setenv("MUJOCO_GL", asked)
    model = mujoco.MjModel.from_xml_string(BALL)
    with pytest.raises(UsageError, match=sentence) as refusal:
        mujoco_frames.draw("ball", model, {"qpos": np.zeros((1, 1))}, 96, 64)
    assert "\n" not in str(refusal.value)
