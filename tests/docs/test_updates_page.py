"""docs/updates.md is what the code gives, and what it says of each update is measured."""

import importlib
import inspect

import jax.numpy as jnp
import pages
import pytest

from rljax import updates


@pytest.fixture(scope="module")
def updates_page():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(pages.ROOT / "scripts")
        return importlib.import_module("updates_page")


def makes_an_update(name: str) -> bool:
    function = getattr(updates, name)
    if not inspect.isfunction(function):
        return False
    return inspect.signature(function, eval_str=True).return_annotation is updates.Update


@pytest.mark.long
def test_the_page_is_as_the_script_writes_it(updates_page):
    assert updates_page.PAGE.read_text() == updates_page.page(), "run scripts/updates_page.py"


def test_every_public_update_is_on_it(updates_page):
    known = updates_page.examples()
    assert {name for name in updates.__all__ if makes_an_update(name)} <= {*known}
    assert {*known} <= {*updates.__all__}


def test_reads_and_writes_are_measured(updates_page):
    def shifted(params, batch, key):
        unused = batch.extras["target"] + 1
        del unused
        return batch.annotate(value=batch.reward + params["bias"]), {"charts/x": batch.obs.sum()}

    zeros = jnp.zeros((updates_page.T, updates_page.N))
    example = updates_page.Example(
        updates.stateless(shifted), {"bias": jnp.float32(0)}, updates_page.batch(zeros, zeros)
    )
    found = updates_page.measured(example)
    assert {*found.reads} == {"parameters", "reward", "obs"}
    assert found.writes == ["value"] and found.metrics == ["charts/x"]


@pytest.mark.parametrize(
    ("name", "reads", "writes"),
    [
        ("rewards_to_go", {"reward", "terminated", "truncated"}, {"advantage"}),
        ("td_target", {"parameters", "reward", "next_obs", "discount"}, {"target", "clipped"}),
        ("table_step", {"parameters", "obs", "action", "target", "weight"}, {"parameters"}),
        ("reward_scaling", {"reward", "terminated", "truncated"}, {"reward"}),
    ],
)
def test_it_says_of_an_update_what_its_docstring_says(updates_page, name, reads, writes):
    found = updates_page.measured(updates_page.examples()[name]())
    assert ({*found.reads}, {*found.writes}) == (reads, writes)
