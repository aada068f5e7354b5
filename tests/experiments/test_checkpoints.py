"""States that people save and restore from Python."""

from dataclasses import replace

import jax
import pytest
from states import different_leaves

import rljax
from rljax.errors import RunError

KEY = jax.random.key(0)


def learner(total_env_steps=64, hidden=(8,)):
    return rljax.dqn(
        rljax.make("CartPole-v1"),
        num_envs=4,
        total_env_steps=total_env_steps,
        buffer_size=64,
        batch_size=8,
        warmup_env_steps=16,
        schedule_env_steps=128,
        hidden=hidden,
    )


@pytest.fixture(scope="module")
def half():
    return rljax.train(learner(), KEY)[0]


def test_a_state_goes_on_after_it_was_saved_as_if_it_had_not_been(half, tmp_path):
    rljax.save(tmp_path / "saved", half)
    longer = learner(total_env_steps=128)
    restored = rljax.restore(tmp_path / "saved", longer, jax.random.key(7))
    assert not different_leaves(restored, half)
    whole, _ = rljax.train(longer, KEY)
    assert not different_leaves(rljax.train(longer, restored)[0], whole)
    rljax.save(tmp_path / "saved", whole)
    assert int(rljax.restore(tmp_path / "saved", longer, KEY).iteration) == longer.num_iterations


@pytest.mark.long
def test_a_population_is_restored(tmp_path):
    population, keys = rljax.vmap(learner()), jax.random.split(KEY, 3)
    states = jax.jit(population.init)(keys)
    rljax.save(tmp_path / "saved", states)
    assert not different_leaves(rljax.restore(tmp_path / "saved", population, keys), states)


def test_no_state_is_written_over_or_left_out(half, tmp_path):
    rljax.save(tmp_path, half)
    for state in (half, replace(half, iteration=half.iteration - 1)):
        with pytest.raises(RunError, match="has a state of this iteration or a later one: save to"):
            rljax.save(tmp_path, state)
    assert not different_leaves(rljax.restore(tmp_path, learner(), KEY), half)


def test_what_cannot_be_restored_is_named(half, tmp_path):
    with pytest.raises(RunError, match=f"there is no folder {tmp_path}/none"):
        rljax.restore(tmp_path / "none", learner(), KEY)
    with pytest.raises(RunError, match="has no saved state"):
        rljax.restore(tmp_path, learner(), KEY)
    rljax.save(tmp_path, half)
    with pytest.raises(RunError, match="of another make"):
        rljax.restore(tmp_path, learner(hidden=(9,)), KEY)


@pytest.mark.long
def test_a_damaged_state_gives_way_to_the_one_before(half, tmp_path):
    rljax.save(tmp_path, half)
    longer = learner(total_env_steps=128)
    rljax.save(tmp_path, rljax.train(longer, half)[0])
    latest = max((p for p in tmp_path.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    for file in (latest / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.warns(UserWarning, match="restored is the one before it"):
        restored = rljax.restore(tmp_path, longer, KEY)
    assert not different_leaves(restored, half)
