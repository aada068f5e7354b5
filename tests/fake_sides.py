"""Sides of a benchmark that answer at once with the seconds that their work names."""

from benchmarks import measuring, peers
from benchmarks.rows import Row

FAKE = """
import json, os, sys
work = json.loads(sys.argv[1])
log = {log!r}
with open(log, "a") as file:
    alone = "PYTHONPATH" not in os.environ
    file.write(json.dumps([work["side"], work["seed"], alone, sys.argv[2:]]) + "\\n")
seconds = work[work["side"] + " seconds"]
if seconds is None:
    sys.exit("no luck today")
print("what a library says of itself")
print(json.dumps(dict(
    amount=100, seconds=[20.0, seconds[work["seed"]]], result=work.get("result", 1.0),
    compile_seconds=2.0, peak_memory_bytes=2**30, versions=dict(python="3"), devices=["cpu: cpu"],
    beside=work.get("beside", {{}}))))
"""


def fake(name, theirs, ours=(1.0, 2.0, 4.0), **changes):
    work = {"rljax seconds": ours, "fake seconds": theirs, **changes.pop("work", {})}
    return Row(name, "fakes", work, least=0.5, peers=("fake",), **changes)


def measured(row, repeats=3):
    return measuring.measure(row, peers.parse(["fake"]), repeats, lambda sentence: None)
