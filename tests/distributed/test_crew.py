"""Actors that fail, hang or die are replaced, named and counted."""

import threading
import warnings

import jax
import numpy as np
import pytest
from walks import walks

import rljax
from rljax.errors import RunError

SIZES = {"num_envs": 4, "rollout_length": 4, "total_env_steps": 96, "hidden": (8,)}


def train(env, **options):
    agent = rljax.a2c(env, **SIZES)
    return rljax.train(rljax.distribute(agent, 2, **options), jax.random.key(0))


def test_an_actor_that_raises_is_replaced_and_named(recwarn):
    made: list[int] = []
    state, history = train(walks(fails_at=6, lives=made))
    assert int(state.iteration) == 6
    assert made == [2, 2, 2]
    assert history["charts/actor_failures"].sum() == 1
    told = [str(w.message) for w in recwarn if "actor" in str(w.message)]
    assert told == [
        "actor 0 failed and is replaced; its episodes are dropped: RuntimeError: the walk fell over"
    ] or told[0].startswith("actor 1")


def test_an_actor_that_hangs_is_replaced(recwarn):
    made: list[int] = []
    state, history = train(walks(fails_at=10, hangs=True, lives=made), timeout=1.0)
    assert int(state.iteration) == 6 and len(made) == 3
    assert history["charts/actor_failures"].sum() == 1
    assert any("brought nothing for 1 s" in str(w.message) for w in recwarn)


def test_too_many_in_a_row_stop_the_run_with_the_last_error():
    with warnings.catch_warnings(), pytest.raises(RunError, match="6 actors in a row.*fell over"):
        warnings.simplefilter("ignore")
        train(walks(fails_at=1))


def test_no_thread_is_left_behind():
    before = threading.active_count()
    train(walks())
    assert threading.active_count() <= before


def test_interrupting_ends_every_actor():
    before = threading.active_count()

    def interrupt(state, row):
        raise KeyboardInterrupt

    agent = rljax.distribute(rljax.a2c(walks(), **SIZES), 2)
    with pytest.raises(KeyboardInterrupt):
        rljax.train(agent, jax.random.key(0), hooks=[interrupt])
    assert threading.active_count() <= before


def test_an_actor_in_the_place_of_another_has_other_seeds():
    from rljax.distributed.learner import seeds

    key = np.array([1, 2], np.uint32)
    first, second = seeds(key, 0, range(4), 0), seeds(key, 0, range(4), 1)
    assert len({*first, *second}) == 8
    assert seeds(key, 0, range(2, 4), 0) == first[2:]
    assert not {*seeds(key, 1, range(4), 0)} & {*first}
