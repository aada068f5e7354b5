"""Games in which a table says what joint actions pay, once or in a few steps.

>>> import rljax
>>> rljax.make("Climbing").payoffs[0][0]
(11.0, 11.0)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError, check_positive
from rljax.types import Action, Key, Obs


class MatrixState(NamedTuple):
    """How many rounds have been played, and what was done in the last of them."""

    time: jax.Array  # [] int32
    action: jax.Array  # [M] int32, -1 before the first round


@dataclass(frozen=True)
class MatrixGame:
    """M agents choose at the same time, and a table says what each of them is paid.

    `payoffs` is [A, ..., A, M]: an axis of actions for each agent, then what each is paid. Nested
    sequences or arrays will do. Agents that are always paid the same are one team with a shared
    reward; all others are teams of their own.

    The table is used in `rounds` rounds, then the episode terminates. Observed is the number of
    the round, one-hot [rounds], and so is the global state.

    Raises UsageError for a table that is not so, and for less than one round.
    """

    payoffs: Any
    rounds: int = 1
    name: str = "MatrixGame"

    def __post_init__(self) -> None:
        check_positive(rounds=self.rounds)
        try:
            table = np.asarray(self.payoffs, float)
        except (TypeError, ValueError):  # rows of different lengths, or no numbers
            raise UsageError(f"{self.name}: payoffs must be one array of numbers") from None
        shape = table.shape
        if not shape or len(shape) != shape[-1] + 1 or len(set(shape[:-1])) != 1:
            raise UsageError(
                f"{self.name}: payoffs must be [A, ..., A, M] with an axis of actions for each of "
                f"the M agents, not {list(shape)}"
            )
        # Tuples, so that games can be compared and hashed.
        object.__setattr__(self, "payoffs", _tuples(table.tolist()))

    @property
    def agents(self) -> tuple[str, ...]:
        """By their numbers."""
        return tuple(f"agent_{i}" for i in range(np.shape(self.payoffs)[-1]))

    @property
    def shared_reward(self) -> bool:
        """Whether all agents are always paid the same."""
        table = np.array(self.payoffs)
        return bool((table == table[..., :1]).all())

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """All agents together where they share the reward; else each alone."""
        everybody = range(len(self.agents))
        return (tuple(everybody),) if self.shared_reward else tuple((i,) for i in everybody)

    @property
    def action_space(self) -> spaces.Discrete:
        """The actions of one agent."""
        return spaces.Discrete(len(self.payoffs))

    @property
    def observation_space(self) -> spaces.Box:
        """The round."""
        return spaces.Box(0.0, 1.0, (self.rounds,))

    @property
    def state_space(self) -> spaces.Box:
        """The round."""
        return self.observation_space

    def reset(self, key: Key) -> tuple[MatrixState, Obs]:
        """The first round; the key is not used."""
        state = MatrixState(jnp.int32(0), jnp.full(len(self.agents), -1, jnp.int32))
        return state, self._observe(state)

    def step(self, key: Key, state: MatrixState, action: Action):
        """A round; the key is not used."""
        reward = jnp.array(self.payoffs, jnp.float32)[tuple(action)]
        state = MatrixState(state.time + 1, action.astype(jnp.int32))
        over = state.time >= self.rounds
        return state, self._observe(state), reward, over, jnp.bool_(False)

    def global_state(self, state: MatrixState) -> jax.Array:
        """The round, one-hot [rounds]; zeros after the last."""
        return jax.nn.one_hot(state.time, self.rounds)

    def _observe(self, state: MatrixState) -> Obs:
        return jnp.tile(self.global_state(state), (len(self.agents), 1))


def climbing(rounds: int = 1) -> MatrixGame:
    """The climbing game: the joint action that pays 11 stands beside the two that pay -30.

    If the other agent acts at random, action 2 pays most, so the best joint action is hard to find.

    Source: Claus and Boutilier 1998, https://cdn.aaai.org/AAAI/1998/AAAI98-106.pdf. The first agent
    is A, whose actions are the columns of the paper's table.
    """
    return MatrixGame(shared([[11, -30, 0], [-30, 7, 0], [0, 6, 5]]), rounds, "Climbing")


def penalty(k: float = -100.0, rounds: int = 1) -> MatrixGame:
    """The penalty game: two joint actions are best, and to mistake one for the other costs `k`.

    Raises UsageError for a penalty above 0.

    Source: Claus and Boutilier 1998, https://cdn.aaai.org/AAAI/1998/AAAI98-106.pdf.
    """
    if k > 0:
        raise UsageError(f"Penalty: k must be at most 0, not {k}")
    return MatrixGame(shared([[10, 0, k], [0, 2, 0], [k, 0, 10]]), rounds, "Penalty")


def prisoners_dilemma(rounds: int = 1) -> MatrixGame:
    """The prisoner's dilemma: 0 cooperates, 1 defects; two agents who want different things.

    Two who cooperate are paid 3 each, two who defect 1 each. One who defects alone is paid 5, and
    the other 0.

    Source: Axelrod 1980, "Effective Choice in the Prisoner's Dilemma".
    """
    return MatrixGame([[[3, 3], [0, 5]], [[5, 0], [1, 1]]], rounds, "PrisonersDilemma")


def shared(payoffs: Any, agents: int = 2) -> np.ndarray:
    """Payoffs [A, ..., A] that all agents are paid, as the table [A, ..., A, M] of a game."""
    return np.stack([np.asarray(payoffs, float)] * agents, axis=-1)


def _tuples(nested: Any) -> Any:
    """The same as tuples."""
    return tuple(map(_tuples, nested)) if isinstance(nested, Sequence) else nested


class TwoStepState(NamedTuple):
    """Where the game is, and what was done last."""

    place: jax.Array  # [] int32, 0 the first step, 1 and 2 the games 2A and 2B
    time: jax.Array  # [] int32, steps of the episode so far
    action: jax.Array  # [2] int32, of the last step; -1 before the first


@dataclass(frozen=True)
class TwoStep:
    """Two agents; what the first does in the first step decides which game they play in the second.

    Action 0 of the first agent leads to game 2A, which always pays 7, and action 1 to game 2B,
    which pays 8 if both choose 1, 1 if one does, and 0 if none does. The first step pays nothing,
    and the second terminates. Both agents are paid the same: 8 at best. A joint value that is the
    sum of one value for each agent cannot tell that 2B is better.

    Observed is the place, one-hot [3], and so is the global state.

    Source: Rashid et al. 2018, section 5, https://arxiv.org/abs/1803.11485.
    """

    name = "TwoStep"
    payoffs = (((0, 0), (0, 0)), ((7, 7), (7, 7)), ((0, 1), (1, 8)))  # [place, A, A]
    agents = ("agent_0", "agent_1")
    teams = ((0, 1),)
    shared_reward = True
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0.0, 1.0, (3,))
    state_space = observation_space

    def reset(self, key: Key) -> tuple[TwoStepState, Obs]:
        """The first step; the key is not used."""
        state = TwoStepState(jnp.int32(0), jnp.int32(0), jnp.full(2, -1, jnp.int32))
        return state, self._observe(state)

    def step(self, key: Key, state: TwoStepState, action: Action):
        """One step; the key is not used."""
        reward = jnp.array(self.payoffs, jnp.float32)[state.place, action[0], action[1]]
        over = state.place > 0
        place = jnp.where(over, state.place, 1 + action[0])
        state = TwoStepState(place, state.time + 1, action.astype(jnp.int32))
        return state, self._observe(state), jnp.tile(reward, 2), over, jnp.bool_(False)

    def global_state(self, state: TwoStepState) -> jax.Array:
        """The place, one-hot [3]."""
        return jax.nn.one_hot(state.place, 3)

    def _observe(self, state: TwoStepState) -> Obs:
        return jnp.tile(self.global_state(state), (2, 1))
