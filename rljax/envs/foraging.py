"""Level-based foraging: players who must stand together to load food.

>>> import rljax
>>> rljax.make("Foraging8x8-2p-3f").observation_space.shape
(15,)
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import UsageError, check_positive
from rljax.types import Action, Key, Obs

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
MOVES = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)])  # (row, column), by action
HIGHEST = 2  # level of a player
UNSEEN = np.array([-1, -1, 0], np.float32)


class ForagingState(NamedTuple):
    """Where everybody and everything is."""

    players: jax.Array  # [M, 3] int32, row, column and level
    food: jax.Array  # [F, 3] int32, row, column and level, in reading order; level 0 once loaded
    spawned: jax.Array  # [] int32, sum of the levels of all food at the beginning
    time: jax.Array  # [] int32, steps of the episode so far


@dataclass(frozen=True)
class Foraging:
    """Players with levels walk on a grid and load food, together if its level is above theirs.

    Actions are 0 nothing, 1 north, 2 south, 3 west, 4 east and 5 load. Nobody walks off the grid or
    onto food, and food is loaded from a cell on one of its four sides; all else is illegal, and
    does nothing. Of several players who go to one cell, or where one stays, nobody moves. The
    levels of players who load the same food are added up. If the sum is at least the level of the
    food, it is gone, and each of them is paid

        its own level x level of the food / (that sum x sum of the levels of all food),

    so a team can earn 1 in all. The episode terminates when all food is gone, and is truncated
    after `limit` steps.

    Players have level 1 or 2. Food has a level from 1 to the sum of the three lowest of players,
    and with `coop` always that sum, so that all of up to three players must load together.

    Observed are row, column and level of each food in reading order and of each player, the
    observer first; -1, -1 and 0 stand for what is gone or not seen: float32 [3 (food + players)].
    With `sight`, only so many cells on each side are seen, and places are counted from the corner
    of what is seen. The global state is what somebody who sees everything would observe.

    Raises UsageError for a size below 5, counts below 1, and more players than cells.

    Source: Christianos et al. 2020, https://arxiv.org/abs/2006.07169; each step, reward and
    observation is that of lbforaging 2.0.0 (`Foraging-8x8-2p-3f-v3`), which, unlike this, calls a
    time limit an end of the task. By its rules, too, two players can come to stand on one cell:
    where one goes to a cell that another tried to leave.
    """

    size: int = 8
    players: int = 2
    food: int = 3
    coop: bool = False
    sight: int | None = None
    limit: int = 50
    shared_reward = False
    reset_is_costly = True  # It draws places one after the other; a step draws nothing.
    action_space = spaces.Discrete(len(MOVES))

    def __post_init__(self) -> None:
        check_positive(players=self.players, food=self.food, limit=self.limit)
        if self.sight is not None:
            check_positive(sight=self.sight)
        if not isinstance(self.size, int) or self.size < 5:
            raise UsageError(f"{self.name}: size must be a whole number of at least 5")
        if self.players > self.size**2:
            raise UsageError(f"{self.name}: there is no room for {self.players} players")

    @property
    def name(self) -> str:
        """With its parameters."""
        coop = "-coop" if self.coop else ""
        sight = f"-{self.sight}s" if self.sight else ""
        return f"Foraging{self.size}x{self.size}-{self.players}p-{self.food}f{coop}{sight}"

    @property
    def agents(self) -> tuple[str, ...]:
        """By their numbers."""
        return tuple(f"player_{i}" for i in range(self.players))

    @property
    def teams(self) -> tuple[tuple[int, ...], ...]:
        """All are one."""
        return (tuple(range(self.players)),)

    @property
    def observation_space(self) -> spaces.Box:
        """Row, column and level of food and players."""
        number, last = self.food + self.players, self.size - 1
        most = [HIGHEST * min(3, self.players)] * self.food + [HIGHEST] * self.players
        high = np.stack([np.full(number, last), np.full(number, last), most], axis=-1)
        return spaces.Box(np.tile(UNSEEN, number), high.ravel(), (3 * number,))

    @property
    def state_space(self) -> spaces.Box:
        """The same."""
        return self.observation_space

    def reset(self, key: Key) -> tuple[ForagingState, Obs]:
        """Players anywhere, and food that is neither at the edge nor close to other food.

        Consumes the key. Food for which there is no room is left out.
        """
        key_players, key_levels, key_food, key_amounts = jax.random.split(key, 4)
        row, column = np.indices((self.size, self.size))
        levels = jax.random.randint(key_levels, (self.players,), 1, HIGHEST + 1)
        free = jnp.ones((self.size, self.size), bool)
        places = []
        for key_player in jax.random.split(key_players, self.players):
            place, _ = self._some(key_player, free)
            free &= (row != place[0]) | (column != place[1])
            places.append(place)
        players = jnp.column_stack([jnp.stack(places), levels])

        most = jnp.sum(jnp.sort(levels)[:3])
        least = most if self.coop else 1
        amounts = jax.random.randint(key_amounts, (self.food,), least, most + 1)
        free &= (np.minimum(row, column) > 0) & (np.maximum(row, column) < self.size - 1)
        spawned = []
        for key_one, amount in zip(jax.random.split(key_food, self.food), amounts, strict=True):
            place, found = self._some(key_one, free)
            spawned.append(jnp.append(place, jnp.where(found, amount, 0)))
            # No cell is beside two foods.
            free &= (row - place[0]) ** 2 + (column - place[1]) ** 2 > 4
        food = jnp.stack(spawned)
        food = food[jnp.argsort(food[:, 0] * self.size + food[:, 1])]
        state = ForagingState(players, food, jnp.sum(food[:, 2]), jnp.int32(0))
        return state, self._observe(state)

    def step(self, key: Key, state: ForagingState, action: Action):
        """One action of each; the key is not used."""
        legal = jnp.take_along_axis(self.action_mask(state), action[:, None], axis=1)[:, 0]
        action = jnp.where(legal, action, NONE)
        place, level = state.players[:, :2], state.players[:, 2]
        there = place + jnp.asarray(MOVES)[action]
        alone = jnp.sum(_same(there[:, None], there), axis=1) == 1
        place = jnp.where(alone[:, None], there, place)

        loads = self._beside(place, state.food) & (action == LOAD)[:, None]  # [M, F]
        together = jnp.sum(loads * level[:, None], axis=0)
        amount = state.food[:, 2]
        loaded = jnp.any(loads, axis=0) & (together >= amount)
        share = level[:, None] * amount / jnp.maximum(together * state.spawned, 1)
        reward = jnp.sum(jnp.where(loads & loaded, share, 0.0), axis=1)

        food = state.food.at[:, 2].set(jnp.where(loaded, 0, amount))
        players = jnp.column_stack([place, level])
        state = ForagingState(players, food, state.spawned, state.time + 1)
        return state, self._observe(state), reward, self.success(state), state.time >= self.limit

    def action_mask(self, state: ForagingState) -> jax.Array:
        """Doing nothing, walking to cells of the grid without food, loading beside food: [M, 6]."""
        there = state.players[:, None, :2] + MOVES  # [M, 6, 2]
        inside = jnp.all((there >= 0) & (there < self.size), axis=-1)
        on_food = _same(there[:, :, None], state.food[:, :2]) & (state.food[:, 2] > 0)
        legal = inside & ~jnp.any(on_food, axis=-1)
        loads = jnp.any(self._beside(state.players[:, :2], state.food), axis=1)
        return legal.at[:, LOAD].set(loads)

    def global_state(self, state: ForagingState) -> jax.Array:
        """Row, column and level of what food is left and of the players, float32 [3 (F + M)]."""
        food = _listed(state.food[:, 2] > 0, state.food)
        return jnp.concatenate([food.ravel(), state.players.ravel().astype(jnp.float32)])

    def success(self, state: ForagingState) -> jax.Array:
        """Whether all food is loaded."""
        return jnp.all(state.food[:, 2] == 0)

    def _some(self, key: Key, free: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(row, column) of a free cell, all equally likely, and whether there is one."""
        count = jnp.sum(free)
        chosen = jax.random.randint(key, (), 0, jnp.maximum(count, 1))
        number = jnp.sum(jnp.cumsum(free.ravel()) <= chosen)
        return jnp.stack([number // self.size, number % self.size]), count > 0

    def _beside(self, place: jax.Array, food: jax.Array) -> jax.Array:
        """Which players at `place` [M, 2] are beside which food [F, 3]; bool [M, F]."""
        distance = jnp.sum(jnp.abs(place[:, None] - food[:, :2]), axis=-1)
        return (distance == 1) & (food[:, 2] > 0)

    def _observe(self, state: ForagingState) -> Obs:
        sight = self.sight or self.size

        def by(player: jax.Array) -> jax.Array:
            own = state.players[player, :2]
            corner = own - jnp.minimum(own, sight)
            seen = jnp.all(jnp.abs(state.food[:, :2] - own) <= sight, axis=-1)
            food = _listed(seen & (state.food[:, 2] > 0), _moved(state.food, corner))
            # Its own number first, then those of the others.
            number = jnp.arange(self.players)
            order = jnp.where(number == 0, player, number - (number <= player))
            players = _moved(state.players[order], corner)
            # As in lbforaging, who stands near an edge sees players further away than `sight`.
            seen = jnp.all((players[:, :2] >= 0) & (players[:, :2] <= 2 * sight), axis=-1)
            return jnp.concatenate([food.ravel(), _listed(seen, players).ravel()])

        return jax.vmap(by)(jnp.arange(self.players))


def _same(one: jax.Array, other: jax.Array) -> jax.Array:
    """Whether places [..., 2] are the same; bool [...]."""
    return jnp.all(one == other, axis=-1)


def _moved(things: jax.Array, corner: jax.Array) -> jax.Array:
    """Things [K, 3] with their places counted from a corner [2]."""
    return things - jnp.append(corner, 0)


def _listed(seen: jax.Array, things: jax.Array) -> jax.Array:
    """The things [K, 3] that are seen, in their order, then `UNSEEN`; float32 [K, 3]."""
    place = jnp.cumsum(seen) - 1
    chosen = seen & (place == np.arange(len(things))[:, None])  # [place, thing]
    listed = jnp.sum(jnp.where(chosen[..., None], things, 0), axis=1).astype(jnp.float32)
    return jnp.where(jnp.any(chosen, axis=1)[:, None], listed, UNSEEN)
