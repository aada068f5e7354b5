"""An actor: steps its share of the simulators with the parameters that it is given."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rljax import _cpu
from rljax.distributed.programs import ActingProgram
from rljax.envs import autoreset
from rljax.envs.simulators import HostEnvironment, Steps
from rljax.errors import UsageError
from rljax.types import Agent, Extras, Obs, State, Transition


class Share(NamedTuple):
    """Which environments of the N an actor steps."""

    first: int
    envs: int
    total: int

    @property
    def rows(self) -> slice:
        """Their places among the N."""
        return slice(self.first, self.first + self.envs)


class Episodes(NamedTuple):
    """The episodes behind a batch: where one ended, and what it came to until there."""

    over: np.ndarray  # [T, N] bool
    score: np.ndarray  # [T, N] float32, sum of the rewards that are reported
    length: np.ndarray  # [T, N] int32


class Trajectory(NamedTuple):
    """What an actor hands over; NumPy arrays."""

    batch: Transition  # [T, N, ...]
    episodes: Episodes
    version: int  # of the parameters that acted: how many iterations were behind them
    seconds: float  # in the simulator alone


class Contribution(NamedTuple):
    """What an actor of a parameter server hands over; NumPy arrays, and no experience."""

    value: Any  # what `Agent.absorb` takes
    metrics: dict[str, Any]  # scalars
    episodes: Episodes
    seconds: float  # in the simulator alone


class Actor:
    """Steps `share` of the environments; all arrays of a trajectory are [T, share.envs, ...].

    It evaluates the policy on all N rows, of which it fills its own. So an environment gets the
    same actions to the bit, however many actors share the work.
    """

    def __init__(
        self, agent: Agent, env: HostEnvironment, share: Share, length: int, seeds: list[int]
    ):
        self.share, self.length = share, length
        self.simulator = env.simulator(share.envs)
        self._obs = self.simulator.reset(seeds)
        check_like(env, self._obs, share.envs)
        self._done = np.ones(share.total, bool)
        self._carry = agent.initial_carry((share.total,))
        self._score = np.zeros(share.envs, np.float32)
        self._steps = np.zeros(share.envs, np.int32)
        self._agent, self._programs = agent, dict[bool, ActingProgram]()
        self._contribute: Callable | None = None

    def collect(self, behaviour: State, key_data: Any, explore: bool) -> Trajectory:
        """T steps of each environment, by the policy or by the one of the warm-up.

        Args:
            behaviour: what the policy reads of a state.
            key_data: the key, as its bits uint32 [2]; the same for all actors of a batch.
            explore: whether the warm-up's policy acts.
        """
        program = self._acting(behaviour, explore)
        program.begin(behaviour, key_data)
        rows, seconds = self.share.rows, 0.0
        taken: list[tuple] = []
        for _ in range(self.length):
            obs = self._obs
            acted = program.act(self._all(obs), self._carry, self._done)
            action, recorded, self._carry = acted
            began = time.perf_counter()
            steps = self.simulator.step(action[rows])
            seconds += time.perf_counter() - began
            taken.append((obs, action[rows], recorded[rows], steps))
            self._obs = steps.obs
            self._done[rows] = steps.terminated | steps.truncated
        # Each column at once: what is done step by step, the simulator waits for.
        obs, action, recorded, steps = (_stacked(column) for column in zip(*taken, strict=True))
        episodes = self._episodes(steps)
        extras = {
            "episode_return": episodes.score,
            "episode_length": episodes.length,
            **program.recorded(recorded),
        }
        batch = Transition(
            obs=obs,
            action=action,
            reward=steps.reward,
            terminated=steps.terminated,
            truncated=steps.truncated & ~steps.terminated,
            next_obs=steps.next_obs,
            extras=Extras(extras),
        )
        return Trajectory(batch, episodes, int(behaviour.iteration), seconds)

    def _episodes(self, steps: Steps) -> Episodes:
        """What the episodes came to at each of T steps [T, N]; the next batch goes on from it."""
        scores, lengths = np.empty_like(steps.score), np.empty(steps.over.shape, np.int32)
        for t, over in enumerate(steps.over):
            scores[t] = self._score = self._score + steps.score[t]
            lengths[t] = self._steps = self._steps + 1
            self._score = np.where(over, np.float32(0), self._score)
            self._steps = np.where(over, np.int32(0), self._steps)
        return Episodes(steps.over, scores, lengths)

    def contribute(self, behaviour: State, key_data: Any, learning_key_data: Any) -> Contribution:
        """The contribution of T steps of each environment, by the parameters that took them.

        Args:
            behaviour, key_data: as for `collect`.
            learning_key_data: the key of `Agent.contribute`, as its bits uint32 [2].
        """
        taken = self.collect(behaviour, key_data, explore=False)
        assert self._agent.contribute is not None
        inputs = (behaviour, taken.batch, jax.random.wrap_key_data(learning_key_data))
        if self._contribute is None:
            options = _cpu.compiler_options(self._agent.contribute, *inputs)
            self._contribute = jax.jit(self._agent.contribute, compiler_options=options)
        value, metrics = jax.device_get(self._contribute(*inputs))
        return Contribution(value, metrics, taken.episodes, taken.seconds)

    def _acting(self, behaviour: State, explore: bool) -> ActingProgram:
        """The policy, or the one of the warm-up, compiled when it first acts."""
        if explore not in self._programs:
            choose = self._agent.explore if explore else self._agent.policy
            assert choose is not None
            self._programs[explore] = ActingProgram(self._agent, choose, behaviour, self.length)
        return self._programs[explore]

    def _all(self, obs: Obs) -> Obs:
        """Observations [N, ...] with those of this actor in their places, zeros elsewhere."""
        if self.share.envs == self.share.total:
            return obs

        def one(x: np.ndarray) -> np.ndarray:
            out = np.zeros((self.share.total, *x.shape[1:]), x.dtype)
            out[self.share.rows] = x
            return out

        return jax.tree.map(one, obs)

    def close(self) -> None:
        """End the simulator."""
        self.simulator.close()


def _stacked(column: Sequence[Any]) -> Any:
    """T trees of arrays [N, ...] as one of arrays [T, N, ...]."""
    return jax.tree.map(lambda *x: np.stack(x), *column)


def check_like(env: HostEnvironment, obs: Obs, envs: int) -> None:
    """Refuse observations [N, ...] that are not what the description of a simulator says."""
    described = jax.eval_shape(lambda key: autoreset.reset(env, key)[1], jax.random.key(0))
    wanted = jax.tree.map(lambda x: ((envs, *x.shape), x.dtype.name), described)
    found = jax.tree.map(lambda x: (x.shape, x.dtype.name), obs)
    if found != wanted:
        raise UsageError(
            f"the simulator of {env.name} observes {found}, where its observation_space says "
            f"{wanted}: make both the same, for every actor"
        )
