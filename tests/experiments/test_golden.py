"""Runs that an earlier version began, and what it came to at their ends.

`tests/golden` has run directories with one checkpoint each, from the middle, and in `end.npz` the
last state, its leaves by path. They were written by the version before `rljax._cpu` had a switch.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rounding import assert_equal_but_for_rounding
from states import arrays

from rljax.experiments import experiment, migration

GOLDEN = Path(__file__).parent.parent / "golden"
NEW = {"hparams/temperature": 1, "hparams/epsilon_base": 0.4, "hparams/epsilon_alpha": 7}
NEW |= {f"hparams/curiosity_{name}": x for name, x in (("coef", 1), ("gamma", 0.99), ("lr", 1e-3))}
NEW |= {"hparams/hindsight_fraction": 0.8, "hparams/priority_mix": 0.9}
NEW |= {"hparams/newest_opponent": 0.3}
"""Hyperparameters that came later, and their defaults."""


@pytest.mark.parametrize("name", ["ppo", pytest.param("dqn", marks=pytest.mark.long)])
def test_a_run_of_an_earlier_version_goes_on_to_the_same_end(name, tmp_path):
    shutil.copytree(GOLDEN / name, tmp_path / name)
    told: list[str] = []
    outcome = experiment.resume(tmp_path / name, report=told.append)
    assert told and told[0].startswith("resuming") and "at iteration 0" not in told[0], told
    with np.load(GOLDEN / name / "end.npz") as end:
        saved = {path: end[path] for path in end.files}
    found = arrays(outcome.state)
    renames = migration.RENAMES if name == "dqn" else ()
    expected = {migration.renamed(path, renames): leaf for path, leaf in saved.items()}
    assert {path for path in found if path not in expected} <= NEW.keys()
    for path, default in NEW.items():
        shape = found[path].shape if path in found else ()
        expected.setdefault(path, np.full(shape, default, np.float32))
        found.setdefault(path, np.float32(default))
    assert_equal_but_for_rounding(found, expected, rtol=1e-3)
