"""An agent that is another one with some choices made, and what it says of its arguments."""

import inspect
import subprocess
import sys
import textwrap

import pytest

from rljax.agents.variants import variant_of

OF_BASE = """What there was.

    Args:
        kind: which of
            several.
        size: how large it is.

    Raises:
        UsageError: for a size that is not known.
    """
OWN = """What is new.

    Args:
        size: how small it is.
    """
JOINED = """\
What is new.

Args:
    size: how small it is.

Raises:
    UsageError: for a size that is not known."""


def as_python_3_13_has_it(doc):
    head, _, rest = doc.partition("\n")
    return f"{head}\n{textwrap.dedent(rest)}"


@pytest.mark.parametrize("kept", [str, as_python_3_13_has_it])
def test_a_variant_says_of_each_argument_what_it_or_its_base_says(kept):
    def base(*, kind, size):
        return kind, size

    def factory(*, size=1, **arguments):
        return base(kind="a", size=size, **arguments)

    base.__doc__, factory.__doc__ = kept(OF_BASE), kept(OWN)
    variant = variant_of(base, "kind")(factory)
    assert variant.__doc__ == JOINED
    assert list(inspect.signature(variant).parameters) == ["size"]
    assert "kind: which of\n        several." in variant_of(base)(factory).__doc__


def test_agents_can_be_made_where_python_leaves_docstrings_out():
    program = "import rljax; print(rljax.sac.Hparams().gamma, rljax.sac.__doc__)"
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True)
    assert done.stdout == "0.99 None\n", done.stderr
