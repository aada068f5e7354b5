import pytest

from rljax import tune


@pytest.mark.slow
def test_on_ray_a_sweep_has_the_results_it_has_here(tiny, tmp_path, capsys):
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.tune")
    given = {"trials": 4, "batch": 2, "devices": 1}
    here = tune.run(tiny, run_dir=tmp_path / "here", **given)
    try:
        there = tune.run(tiny, run_dir=tmp_path / "there", driver="ray", **given)
    finally:
        ray.shutdown()
    assert not capsys.readouterr().out, "what Ray says is not what the command says"
    assert there.directory.table.read_text() == here.directory.table.read_text()
    assert len(there.outcomes) == 4 and there.best.trial == here.best.trial
