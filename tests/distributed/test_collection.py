"""In which order actors act and what the learner gets, with a crew that answers as a test says."""

import jax
import numpy as np
import pytest

from rljax.distributed.actors import Episodes, Trajectory
from rljax.distributed.collection import Asynchronous, Pipelined, Synchronous
from rljax.distributed.crew import Answer
from rljax.types import Extras, Transition

T, ENVS = 2, 3


class Scripted:
    """A crew of two whose actors answer in the order that is given; parameters are a version.

    Behind that order, actor 0 answers whenever it has a call.
    """

    def __init__(self, *order: int):
        self.order, self.calls = list(order), dict[int, int]()
        self.keys: dict[int, list] = {0: [], 1: []}
        self.waited_for: list[list[int]] = []

    def submit(self, actor, behaviour, key_data, explore):
        assert actor not in self.calls
        self.calls[actor] = behaviour
        self.keys[actor].append(tuple(key_data.tolist()))

    @property
    def busy(self):
        return list(self.calls)

    def next(self):
        self.waited_for.append(sorted(self.calls))
        assert len(self.waited_for) < 100
        actor = self.order.pop(0) if self.order else min(self.calls)
        first = len(self.keys[actor]) == 1
        return [Answer(actor, brought(actor, self.calls.pop(actor)), first)]


def brought(actor: int, version: int) -> Trajectory:
    """A trajectory that tells of whom it is, and by which parameters."""
    told = np.full((T, ENVS), 100 * actor + version, np.float32)
    never = np.zeros((T, ENVS), bool)
    batch = Transition(told, told, told, never, never, told, Extras())
    return Trajectory(batch, Episodes(never, told, told.astype(np.int32)), version, 0.1)


def key(version: int) -> np.ndarray:
    return np.asarray(jax.random.key_data(jax.random.key(version)))


def batches(collection, count: int) -> tuple[list, list]:
    """Of each batch, actors and versions of both trajectories; and whether they were first."""
    told, begun = [], []
    for version in range(count):
        found = collection.collect(version, key(version), version)
        told.append([(int(x) // 100, int(x) % 100) for x in found.batch.reward[0, ::ENVS]])
        begun.append(found.begun[::ENVS].tolist())
        lags = [version - acted for _, acted in told[-1]]
        assert found.metrics["charts/policy_lag"] == np.mean(lags)
    return told, begun


def all_differ(keys) -> bool:
    return len({*keys}) == len(keys)


@pytest.mark.parametrize("order", [(0, 1, 0, 1), (1, 0, 0, 1)])
def test_all_act_with_the_newest_and_stand_in_their_places(order):
    crew = Scripted(*order)
    told, begun = batches(Synchronous(crew, 2), 2)
    assert told == [[(0, 0), (1, 0)], [(0, 1), (1, 1)]]
    assert begun == [[True, True], [False, False]]
    assert crew.keys[0] == crew.keys[1] == [tuple(key(v).tolist()) for v in (0, 1)]


@pytest.mark.parametrize("order", [(0, 1, 0, 1, 0, 1), (0, 0, 1, 1, 1, 0)])
def test_each_actor_is_one_trajectory_ahead_in_its_place(order):
    crew = Scripted(*order)
    told, begun = batches(Pipelined(crew, 2), 3)
    assert told == [[(0, 0), (1, 0)], [(0, 0), (1, 0)], [(0, 1), (1, 1)]]
    assert begun == [[True, True], [False, False], [False, False]]
    # All actors have the keys of their batch, and no two batches have the same.
    assert all_differ(crew.keys[0]) and all_differ(crew.keys[1])
    assert crew.keys[0][:3] == crew.keys[1][:3]


def test_an_actor_that_is_one_ahead_waits_for_the_others():
    crew = Scripted(0, 0, 1)
    batches(Pipelined(crew, 2), 1)
    assert crew.waited_for == [[0, 1], [0, 1], [1]]


def test_actors_that_run_ahead_act_at_random_in_ways_of_their_own():
    crew = Scripted(0, 0, 1, 0, 0, 1)
    batches(Asynchronous(crew, 2, max_lag=4), 3)
    assert all_differ([*crew.keys[0], *crew.keys[1]])


def test_an_actor_waits_while_more_trajectories_than_actors_wait_for_the_learner():
    # With a lag of 1, the second batch waits for actor 1, which began with version 0.
    crew = Scripted()
    told, _ = batches(Asynchronous(crew, 2, max_lag=1), 2)
    assert crew.waited_for[-1] == [1] and crew.waited_for[-2] == [0, 1]
    assert told[0] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("most", [1, 2, 4])
def test_no_trajectory_is_left_behind_until_it_is_too_old(most):
    # Actor 1 brings a trajectory only where it is waited for, and is behind those of actor 0 then.
    told, _ = batches(Asynchronous(Scripted(), 2, max_lag=most), most + 3)
    lags = {
        (actor, version): learnt - version
        for learnt, both in enumerate(told)
        for actor, version in both
    }
    assert lags[1, 0] == most and max(lags.values()) == most
