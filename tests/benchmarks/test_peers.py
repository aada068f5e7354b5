import pytest

from benchmarks import peers
from rljax.errors import UsageError


def test_a_peer_that_is_no_library_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match="there is brax, flashbax"):
        peers.parse(["zzzzzz"])
