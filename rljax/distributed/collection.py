"""In which order actors act and the learner learns: one after the other, or at the same time."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from rljax.distributed.actors import Contribution, Episodes, Trajectory
from rljax.distributed.crew import Answer, Crew
from rljax.types import Transition


class Collected(NamedTuple):
    """A batch of all N environments, and what is known about how it came."""

    batch: Transition  # [T, N, ...]
    begun: (
        np.ndarray
    )  # [N] bool, whose simulator is new in this batch, at first or as a replacement
    metrics: dict[str, float]


class Collection(Protocol):
    """Brings batches for one iteration after another."""

    def collect(self, behaviour: Any, key_data: np.ndarray, version: int) -> Collected:
        """The batch to learn from next.

        Args:
            behaviour: a reference to the newest parameters.
            key_data: a key that was not used before, as its bits.
            version: how many iterations are behind those parameters.
        """
        ...


class Synchronous:
    """All actors act with the newest parameters, and the learner waits for all of them."""

    def __init__(self, crew: Crew, number: int):
        self._crew, self._number = crew, number

    def collect(self, behaviour: Any, key_data: np.ndarray, version: int) -> Collected:
        """A batch by the policy; however many actors share the work, it is the same to the bit."""
        return self._all(behaviour, key_data, version, explore=False)

    def exploring(self, behaviour: Any, key_data: np.ndarray, version: int) -> Collected:
        """A batch by the policy of the warm-up."""
        return self._all(behaviour, key_data, version, explore=True)

    def _all(self, behaviour: Any, key_data: np.ndarray, version: int, explore: bool) -> Collected:
        for actor in range(self._number):
            self._crew.submit(actor, behaviour, key_data, explore)
        brought: list[Answer] = []
        while len(brought) < self._number:
            brought.extend(self._crew.next())
        return together(sorted(brought, key=lambda answer: answer.actor), version, waiting=0)


class Asynchronous:
    """Actors act while the learner learns, with parameters that are at most `max_lag` old.

    An actor that has brought its trajectory goes on with the newest parameters, unless
    more trajectories than there are actors wait to be learnt from: then it waits for the learner.
    The learner takes as many trajectories as there are actors, those of the oldest parameters
    first. It waits for an actor whose parameters would otherwise be older than `max_lag`
    iterations.
    """

    def __init__(self, crew: Crew, number: int, max_lag: int):
        self._crew, self._number, self._max_lag = crew, number, max_lag
        self._ready: list[Answer] = []
        self._idle = list(range(number))
        self._versions: dict[int, int] = {}

    def collect(self, behaviour: Any, key_data: np.ndarray, version: int) -> Collected:
        """The next trajectories, of whichever actors were first."""
        calls = 0

        def send_idle() -> None:
            nonlocal calls
            while self._idle and len(self._ready) <= self._number:
                actor = self._idle.pop(0)
                # Each call has a key of its own.
                bits = fold(key_data, calls * self._number + actor)
                self._crew.submit(actor, behaviour, bits, False)
                self._versions[actor] = version
                calls += 1

        def too_old() -> bool:
            # What is under way will be learnt from one version later at the earliest.
            return any(version + 1 - self._versions[a] > self._max_lag for a in self._crew.busy)

        send_idle()
        while len(self._ready) < self._number or too_old():
            for answer in self._crew.next():
                self._ready.append(answer)
                self._idle.append(answer.actor)
            send_idle()
        # Those that came last may be the oldest, and would be too old in the next batch.
        self._ready.sort(key=lambda answer: answer.brought.version)
        taken, self._ready = self._ready[: self._number], self._ready[self._number :]
        return together(taken, version, waiting=len(self._ready))


class Pipelined:
    """Actors act while the learner learns, each one trajectory ahead of it; for a replay.

    Rows of a replay go on where they ended. So each batch has one trajectory of each actor, in
    their places, and the learner waits for all actors. An actor that has brought its trajectory
    goes on with the newest parameters, and what it brings then is learnt from one iteration later.
    The parameters that act are those of exactly one iteration ago (in the first batch, the newest).
    So the same seed gives the same bits, however many actors share the work.
    """

    def __init__(self, crew: Crew, number: int):
        self._crew = crew
        self._ready = [deque[Answer]() for _ in range(number)]
        self._idle = list(range(number))

    def collect(self, behaviour: Any, key_data: np.ndarray, version: int) -> Collected:
        """The next trajectory of each actor."""
        calls = [0] * len(self._ready)

        def send_idle() -> None:
            for actor in [a for a in self._idle if len(self._ready[a]) <= 1]:
                self._idle.remove(actor)
                # The first batch takes two calls; all actors have the same keys.
                self._crew.submit(actor, behaviour, fold(key_data, calls[actor]), False)
                calls[actor] += 1

        send_idle()
        while not all(self._ready):
            for answer in self._crew.next():
                self._ready[answer.actor].append(answer)
                self._idle.append(answer.actor)
            send_idle()
        taken = [ready.popleft() for ready in self._ready]
        return together(taken, version, waiting=sum(map(len, self._ready)))


def together(answers: list[Answer], version: int, waiting: int) -> Collected:
    """Trajectories side by side as one batch [T, N, ...]; a single one is not copied."""
    taken: list[Trajectory] = [answer.brought for answer in answers]
    lags = [version - t.version for t in taken]
    begun = [np.full(a.brought.batch.terminated.shape[1], a.first) for a in answers]
    return Collected(
        side_by_side([t.batch for t in taken]),
        np.concatenate(begun),
        work_metrics(taken, lags, waiting),
    )


def side_by_side(trees: list) -> Any:
    """Arrays [T, N, ...] of several actors as one; those of a single one are not copied."""
    if len(trees) == 1:
        return trees[0]
    return jax.tree.map(lambda *x: np.concatenate(x, axis=1), *trees)


def work_metrics(
    taken: Sequence[Trajectory | Contribution], lags: list[int], waiting: int
) -> dict[str, float]:
    """What is reported of the work of actors.

    Args:
        taken: what they brought.
        lags: how much older than the newest their parameters were.
        waiting: how much else they have brought.
    """
    episodes = side_by_side([t.episodes for t in taken])
    seconds = sum(t.seconds for t in taken) / len(taken)
    return {
        **episode_metrics(episodes),
        "charts/policy_lag": float(np.mean(lags)),
        "charts/queue": float(waiting),
        "charts/simulator_SPS": episodes.over.size / max(seconds, 1e-9),
    }


def episode_metrics(episodes: Episodes) -> dict[str, float]:
    """What the episodes that ended in this batch came to, as `actors.rollouts` reports it."""
    count = int(episodes.over.sum())
    score = episodes.score[episodes.over].mean(dtype=np.float64) if count else np.nan
    length = episodes.length[episodes.over].mean(dtype=np.float64) if count else np.nan
    return {
        "charts/episodes": float(count),
        "charts/episodic_return": float(score),
        "charts/episodic_length": float(length),
    }


def fold(key_data: Any, number: int) -> np.ndarray:
    """The key for that number, as its bits."""
    key = jax.random.fold_in(jax.random.wrap_key_data(key_data), number)
    return np.asarray(jax.random.key_data(key))
