import json

import pages
import pytest

from benchmarks import result_files
from rljax.errors import RunError

RESULTS = sorted((pages.ROOT / "benchmarks/results").glob("*-cores.json"))


def test_results_of_another_make_are_refused(stored, tmp_path):
    found = result_files.load(stored)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(found | {"schema": 99}))
    with pytest.raises(RunError, match="schema 99"):
        result_files.load(other)
    other.write_text("[]")
    with pytest.raises(RunError, match="no results"):
        result_files.load(other)
    other.write_text(json.dumps(found | {"machine": {"processor": "Z80"}}))
    with pytest.raises(RunError, match=r"another machine \(Z80\)"):
        result_files.begin(other)
    with pytest.raises(RunError, match="cannot be written"):
        result_files.begin(tmp_path / "nowhere" / "x.json")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_results_of_the_repository_can_be_read(path):
    assert result_files.load(path)["rows"]
