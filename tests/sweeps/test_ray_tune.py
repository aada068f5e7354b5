import pytest

from rljax import sweeps


def test_on_ray_a_sweep_has_the_results_it_has_here(tiny, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.tune")
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "ray"))
    given = {"trials": 4, "batch": 2, "devices": 1}
    here = sweeps.run(tiny, run_dir=tmp_path / "here", **given)
    try:
        there = sweeps.run(tiny, run_dir=tmp_path / "there", driver="ray", **given)
    finally:
        ray.shutdown()
    assert there.directory.table.read_text() == here.directory.table.read_text()
    assert len(there.outcomes) == 4 and there.best.trial == here.best.trial
