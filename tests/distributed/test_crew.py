"""Actors that fail, hang or die are replaced, named and counted."""

import threading
import time
import warnings

import jax
import numpy as np
import pytest
from walks import walks

import rljax
from rljax.distributed.crew import Crew
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
    told = [str(w.message) for w in recwarn if "is replaced" in str(w.message)]
    sentence = "failed and is replaced; its episodes are dropped: RuntimeError: the walk fell over"
    assert told in ([f"actor 0 {sentence}"], [f"actor 1 {sentence}"])


@pytest.mark.long
def test_an_actor_that_hangs_is_replaced(recwarn):
    made: list[int] = []
    state, history = train(walks(fails_at=10, hangs=True, lives=made), timeout=1.0)
    assert int(state.iteration) == 6 and len(made) == 3
    assert history["charts/actor_failures"].sum() == 1
    assert any("brought nothing for 1 s" in str(w.message) for w in recwarn)


@pytest.mark.long
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


class Scripted:
    """A driver whose calls return, or raise, what the script says, one after the other."""

    def __init__(self, *script):
        self.script, self.calls, self.killed, self.made = list(script), [], [], []

    def launch(self, make):
        self.made.append(make)
        return len(self.made)

    def submit(self, handle, method, *args):
        self.calls.append((handle, method, *args))
        return object()

    def wait(self, futures, timeout):
        return list(futures)

    def result(self, future):
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, handle):
        self.killed.append(handle)


def test_the_call_of_an_actor_that_failed_is_given_to_another():
    driver, told = Scripted("one", OSError("gone"), "two"), []
    crew = Crew(driver, lambda actor, life: ("made", actor, life), 1, 60.0, told.append)
    found = []
    for args in ((1, 2), (3, 4)):
        crew.submit(0, *args, method="contribute")
        found.extend(crew.next())
    assert driver.made == [("made", 0, 0), ("made", 0, 1)] and driver.killed == [1]
    assert driver.calls == [
        (1, "contribute", 1, 2),
        (1, "contribute", 3, 4),
        (2, "contribute", 3, 4),
    ]
    # The first of an actor begins its episodes, also where it follows another.
    assert found == [(0, "one", True), (0, "two", True)]
    assert len(told) == 1 and "actor 0 failed" in told[0] and "OSError: gone" in told[0]


def test_failures_with_a_batch_between_them_do_not_stop_the_run():
    script = [answer for _ in range(8) for answer in (OSError("gone"), "brought")]
    driver = Scripted(*script)
    crew = Crew(driver, lambda actor, life: life, 1, 60.0, lambda sentence: None)
    for _ in range(8):
        crew.submit(0)
        assert [answer.brought for answer in crew.next()] == ["brought"]
    assert crew.failures == 8


def test_each_program_of_an_actor_has_time_to_compile():
    driver = Scripted("warm-up", "batch", "batch", OSError("gone"), "batch", "batch")
    crew = Crew(driver, lambda actor, life: life, 1, 60.0, lambda sentence: None)

    def patience(explore: bool) -> float:
        crew.submit(0, "behaviour", "key", explore)
        [call] = crew._calls
        left = call.until - time.monotonic()
        crew.next()
        return left

    found = [patience(explore) for explore in (True, False, False, False, False)]
    # One follows in the place of who failed in the fourth call, and has answered before the fifth.
    assert [left > 60 for left in found] == [True, True, False, False, False]
