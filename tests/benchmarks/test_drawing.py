import pytest
from PIL import Image

from benchmarks import drawing, result_files
from rljax.cli import main
from rljax.errors import RunError


def test_a_plot_is_drawn_from_a_file_alone(stored, tmp_path, capsys):
    out = tmp_path / "speed.png"
    assert main(["bench", "--from", str(stored), "--from", str(stored), "--draw", str(out)]) == 0
    assert "Fake" not in capsys.readouterr().err
    assert Image.open(out).mode == "RGBA" and Image.open(out).getpixel((0, 0))[3] == 0
    found = result_files.load(stored)
    assert drawing.bars(found) == [("ppo", "fake", 1.5, 1.5, 4.0)]
    assert drawing.curve(found, "seeds") == [(1, 100.0), (2, 100.0), (4, 100.0)]


def test_results_without_a_ratio_are_refused(stored):
    with pytest.raises(RunError, match="measure with --peer"):
        drawing.picture([result_files.load(stored) | {"rows": []}])
