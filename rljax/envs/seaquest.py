"""Seaquest of MinAtar, step by step the game that gymnax has, in a form that is fast.

>>> import rljax
>>> rljax.make("Seaquest-MinAtar").observation_space.shape
(10, 10, 10)

gymnax keeps each kind of thing in a list of 100 places, and closes the gaps after each removal.
Here things keep their places: a new one enters at the front, and the oldest falls out at the back,
after it has left the board. Enemy bullets are bits, because nothing tells two in one cell apart.
The order in which gymnax treats things is kept wherever it matters.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.envs import spaces
from rljax.errors import check_positive
from rljax.types import Action, Key, Obs

SIZE = 10
ROW = 2**SIZE - 1  # all cells of a row, as bits
HALF = 16  # a word of 32 bits holds two rows
NOOP, LEFT, UP, RIGHT, DOWN, FIRE = range(6)
OXYGEN = 200  # steps under water
SEATS = 6  # for divers
SHOT_COOL_DOWN = 5
ENEMY_SHOT_INTERVAL = 10
DIVER_MOVE_INTERVAL = 5
DIVER_SPAWN_INTERVAL = 30
MOVE_INTERVAL, FASTEST_MOVE = 5, 2  # of enemies, at first and at least
SPAWN_INTERVAL, FASTEST_SPAWN = 20, 1

# How many may be there at once: what moves every k + 1 steps leaves in step 10 k + 9.
ENEMIES = 32  # a new one each step, with k = 2, are 30
DIVERS = 2
BULLETS = 2


class Things(NamedTuple):
    """Things that move to the left or to the right, the newest first."""

    x: jax.Array  # [n] int32
    y: jax.Array  # [n] int32
    right: jax.Array  # [n] bool, moves to the right
    wait: jax.Array  # [n] int32, steps until it moves
    there: jax.Array  # [n] bool


class SeaquestState(NamedTuple):
    """Where everything is, and how fast."""

    x: jax.Array  # [] int32, of the submarine
    y: jax.Array  # [] int32
    right: jax.Array  # [] bool, it faces to the right
    bullets: Things  # its own; they do not wait
    enemies: Things
    is_sub: jax.Array  # [ENEMIES] bool, an enemy is a submarine, not a fish
    aim: jax.Array  # [ENEMIES] int32, steps until it shoots
    enemy_bullets: jax.Array  # [10] uint32 by row; cells as bits, the upper half moves right
    divers: Things
    aboard: jax.Array  # [] int32, divers; below 0 after all were brought up
    oxygen: jax.Array  # [] int32
    surfaced: jax.Array  # [] bool
    shot_wait: jax.Array  # [] int32, steps until the submarine may shoot
    enemy_wait: jax.Array  # [] int32, steps until an enemy enters
    diver_wait: jax.Array  # [] int32
    spawn_interval: jax.Array  # [] int32, steps between enemies
    move_interval: jax.Array  # [] int32, steps between moves of enemies, less one
    ramps: jax.Array  # [] int32, how often the game has become faster
    time: jax.Array  # [] int32


@dataclass(frozen=True)
class Seaquest:
    """A submarine shoots fish and submarines, and brings divers up before its oxygen is used up.

    Actions are 0 nothing, 1 left, 2 up, 3 right, 4 down, 5 fire. Each hit pays 1. At the surface
    six divers pay up to 10, by the oxygen that is left; one is lost otherwise, and without any the
    episode terminates. So it does when the oxygen is used up, or anything of the enemy meets the
    submarine. Each time at the surface makes the game faster, if `ramping`.

    Observed is the board, bool [10, 10, 10]; the channels are the submarine, its back, its bullets,
    trails, enemy bullets, fish, enemy submarines, oxygen, divers aboard, divers.

    States, rewards and ends are those of gymnax 1.0.1, also where the original differs, and so are
    random numbers, from the same keys. The number of things has no limit; gymnax's is 100, which
    is never reached.

    Source: Young and Tian 2019, https://arxiv.org/abs/1903.03176.
    """

    ramping: bool = True
    max_steps_in_episode: int = 1000
    name: str = "Seaquest-MinAtar"
    action_space = spaces.Discrete(6)
    observation_space = spaces.Box(0, 1, (SIZE, SIZE, SIZE), np.bool_)

    def __post_init__(self) -> None:
        check_positive(max_steps_in_episode=self.max_steps_in_episode)

    def reset(self, key: Key) -> tuple[SeaquestState, Obs]:
        """An empty sea; the key is not used."""
        state = SeaquestState(
            x=jnp.int32(5),
            y=jnp.int32(0),
            right=jnp.bool_(False),
            bullets=_none(BULLETS),
            enemies=_none(ENEMIES),
            is_sub=jnp.zeros(ENEMIES, bool),
            aim=jnp.zeros(ENEMIES, jnp.int32),
            enemy_bullets=jnp.zeros(SIZE, jnp.uint32),
            divers=_none(DIVERS),
            aboard=jnp.int32(0),
            oxygen=jnp.int32(OXYGEN),
            surfaced=jnp.bool_(True),
            shot_wait=jnp.int32(0),
            enemy_wait=jnp.int32(SPAWN_INTERVAL),
            diver_wait=jnp.int32(DIVER_SPAWN_INTERVAL),
            spawn_interval=jnp.int32(SPAWN_INTERVAL),
            move_interval=jnp.int32(MOVE_INTERVAL),
            ramps=jnp.int32(0),
            time=jnp.int32(0),
        )
        return state, _observe(state)

    def step(self, key: Key, state: SeaquestState, action: Action):
        """One action; consumes the key."""
        state = _spawn(key, state)
        state = _act(state, action)
        bullets = _moved_each_step(state.bullets)
        bullets, enemies, hits = _shoot(bullets, state.enemies, state.is_sub, subs_first=False)
        state = _pick_up(state)
        state = state._replace(divers=_moved(state.divers, DIVER_MOVE_INTERVAL))
        state = _pick_up(state)
        met = _meets(enemies, state)
        enemies = _moved(enemies, state.move_interval)
        met |= _meets(enemies, state)
        bullets, enemies, more_hits = _shoot(bullets, enemies, state.is_sub, subs_first=True)
        state = state._replace(bullets=bullets, enemies=enemies)
        state, shot = _enemies_shoot(state)
        state, brought, drowned = self._breathe(state)
        reward = jnp.asarray(hits + more_hits + brought, jnp.float32)
        truncated = state.time >= self.max_steps_in_episode
        return state, _observe(state), reward, met | shot | drowned, truncated

    def _breathe(self, state: SeaquestState) -> tuple[SeaquestState, jax.Array, jax.Array]:
        """Time passes: (state, reward for divers, whether the oxygen was used up or none came)."""
        under_water = state.y > 0
        surfaces = ~under_water & ~state.surfaced
        full = state.aboard == SEATS
        drowned = (state.oxygen <= 0) | surfaces & (state.aboard == 0)
        brought = jnp.where(surfaces & full, state.oxygen * 10 // OXYGEN, 0)
        spawns_faster = state.spawn_interval > FASTEST_SPAWN
        moves_faster = state.move_interval > FASTEST_MOVE
        ramps = surfaces & (spawns_faster | moves_faster) & self.ramping
        after = jnp.where(full, -1, state.aboard - 1)
        return (
            state._replace(
                aboard=jnp.where(surfaces, after, state.aboard),
                oxygen=jnp.where(surfaces, OXYGEN, state.oxygen - under_water),
                surfaced=~under_water,
                shot_wait=jnp.maximum(state.shot_wait - 1, 0),
                enemy_wait=jnp.maximum(state.enemy_wait - 1, 0),
                diver_wait=jnp.maximum(state.diver_wait - 1, 0),
                spawn_interval=state.spawn_interval - (ramps & spawns_faster),
                move_interval=state.move_interval - (ramps & moves_faster & (state.ramps % 2 == 1)),
                ramps=state.ramps + ramps,
                time=state.time + 1,
            ),
            brought,
            drowned,
        )


def _none(n: int) -> Things:
    no, zero = jnp.zeros(n, bool), jnp.zeros(n, jnp.int32)
    return Things(zero, zero, no, zero, no)


def _entered(things, new, enters: jax.Array):
    """With a new one at the front where it `enters`, and without the one at the back."""
    return jax.tree.map(
        lambda old, new: jnp.where(enters, jnp.append(new, old[:-1]).astype(old.dtype), old),
        things,
        new,
    )


def _spawn(key: Key, state: SeaquestState) -> SeaquestState:
    """An enemy and a diver enter when it is time; no enemy where others come towards it."""
    (key_enemy, key_enemy_y), (key_diver, key_diver_y) = jax.vmap(jax.random.split)(
        jax.random.split(key)
    )
    side, kind = jax.random.uniform(key_enemy, (2,))
    from_left, is_sub = side < 0.5, kind < 1 / 3
    diver_from_left = jax.random.bernoulli(key_diver)
    y, diver_y = (jax.random.randint(k, (), 1, 9) for k in (key_enemy_y, key_diver_y))

    def thing(y: jax.Array, from_left: jax.Array, wait: jax.Array | int) -> Things:
        return Things(jnp.where(from_left, 0, 9), y, from_left, jnp.int32(wait), jnp.bool_(True))

    enemies, due = state.enemies, state.enemy_wait == 0
    against = enemies.there & (enemies.y == y) & (enemies.right != from_left)
    enters = due & ~jnp.any(against)
    new = thing(y, from_left, state.move_interval), is_sub, jnp.int32(ENEMY_SHOT_INTERVAL)
    enemies, is_sub, aim = _entered((enemies, state.is_sub, state.aim), new, enters)
    diver_due = state.diver_wait == 0
    diver = thing(diver_y, diver_from_left, DIVER_MOVE_INTERVAL)
    return state._replace(
        enemies=enemies,
        is_sub=is_sub,
        aim=aim,
        divers=_entered(state.divers, diver, diver_due),
        enemy_wait=jnp.where(due, state.spawn_interval, state.enemy_wait),
        diver_wait=jnp.where(diver_due, DIVER_SPAWN_INTERVAL, state.diver_wait),
    )


def _act(state: SeaquestState, action: Action) -> SeaquestState:
    """The submarine moves one cell, or fires a bullet."""
    x = jnp.clip(state.x + (action == RIGHT) - (action == LEFT), 0, 9)
    y = jnp.clip(state.y + (action == DOWN) - (action == UP), 0, 8)
    right = (state.right | (action == RIGHT)) & (action != LEFT)
    fires = (action == FIRE) & (state.shot_wait == 0)
    bullet = Things(x, y, right, jnp.int32(0), jnp.bool_(True))
    return state._replace(
        x=x,
        y=y,
        right=right,
        bullets=_entered(state.bullets, bullet, fires),
        shot_wait=jnp.where(fires, SHOT_COOL_DOWN, state.shot_wait),
    )


def _moved(things: Things, interval: jax.Array | int) -> Things:
    """Each that has waited moves by a cell, and waits anew; who leaves the board is gone."""
    moves = things.wait == 0
    x = things.x + jnp.where(moves, jnp.where(things.right, 1, -1), 0)
    wait = jnp.where(moves, interval, things.wait - 1)
    return things._replace(x=x, wait=wait, there=things.there & (x >= 0) & (x < SIZE))


def _moved_each_step(things: Things) -> Things:
    return _moved(things, 0)


def _meets(things: Things, state: SeaquestState) -> jax.Array:
    return jnp.any(_at_submarine(things, state))


def _at_submarine(things: Things, state: SeaquestState) -> jax.Array:
    return things.there & (things.x == state.x) & (things.y == state.y)


def _shoot(
    bullets: Things, enemies: Things, is_sub: jax.Array, subs_first: bool
) -> tuple[Things, Things, jax.Array]:
    """Each bullet takes an enemy in its cell with it: (bullets, enemies, how many).

    It is one of the kind that comes first, if there is one, and the oldest of them.
    """
    # No two bullets of the submarine are in one cell, so no two take the same enemy.
    there = bullets.there[:, None] & enemies.there
    meets = there & (bullets.x[:, None] == enemies.x) & (bullets.y[:, None] == enemies.y)
    rank = jnp.arange(ENEMIES) + ENEMIES * (is_sub == subs_first)  # the highest is taken
    taken = jnp.max(jnp.where(meets, rank, -1), axis=1)
    hits = jnp.any(meets & (rank == taken[:, None]), axis=0)
    bullets = bullets._replace(there=bullets.there & (taken < 0))
    return bullets, enemies._replace(there=enemies.there & ~hits), jnp.sum(taken >= 0)


def _pick_up(state: SeaquestState) -> SeaquestState:
    """Divers where the submarine is come aboard, the oldest first, as long as there are seats."""
    at = _at_submarine(state.divers, state)
    before = at & jnp.array([True, False]) & at[::-1]  # the newer of two waits for the older
    comes = at & (before < jnp.maximum(SEATS - state.aboard, 0))
    return state._replace(
        divers=state.divers._replace(there=state.divers.there & ~comes),
        aboard=jnp.minimum(SEATS, state.aboard + jnp.sum(comes)),
    )


def _enemies_shoot(state: SeaquestState) -> tuple[SeaquestState, jax.Array]:
    """Enemy submarines shoot, their bullets move: (state, whether one met the submarine)."""
    enemies = state.enemies
    shoots = enemies.there & state.is_sub & (state.aim == 0)
    place = jnp.uint32(1) << (enemies.x + HALF * enemies.right).astype(jnp.uint32)
    bullets = state.enemy_bullets | _rows(enemies, jnp.where(shoots, place, 0))
    moved = (bullets & ROW) >> 1 | (bullets >> HALF << 1 & ROW) << HALF
    either = bullets | moved
    here = (either | either >> HALF) >> state.x.astype(jnp.uint32) & 1
    met = jnp.any((jnp.arange(SIZE) == state.y) & (here == 1))
    aim = jnp.where(state.aim == 0, ENEMY_SHOT_INTERVAL, state.aim - 1)
    return state._replace(aim=aim, enemy_bullets=moved), met


def _rows(things: Things, words: jax.Array) -> jax.Array:
    """The words uint32 [n] of things joined by row, uint32 [10]."""
    in_row = jnp.where(things.y == jnp.arange(SIZE)[:, None], words, jnp.uint32(0))
    return jax.lax.reduce(in_row, jnp.uint32(0), jax.lax.bitwise_or, (1,))


def _places(things: Things) -> tuple[jax.Array, jax.Array]:
    """The cells of things and of their trails, as bits uint32 [n]; 0 of what is not there."""
    here = jnp.where(things.there, jnp.uint32(1) << things.x.astype(jnp.uint32), 0)
    return here, jnp.where(things.right, here >> 1, here << 1 & ROW)


def _observe(state: SeaquestState) -> Obs:
    """The board, bool [10, 10, 10]."""
    enemies, enemy_trails = _places(state.enemies)
    divers, diver_trails = _places(state.divers)
    bullets, _ = _places(state.bullets)
    enemy_rows = _rows(
        state.enemies, enemies << jnp.where(state.is_sub, HALF, 0).astype(jnp.uint32)
    )
    trail_rows = _rows(state.enemies, enemy_trails) | _rows(state.divers, diver_trails)
    rows = jnp.arange(SIZE)
    front = jnp.uint32(1) << state.x.astype(jnp.uint32)
    back = jnp.where(state.right, front >> 1, front << 1)
    air = (jnp.uint32(1) << (jnp.maximum(state.oxygen, 0) * 10 // OXYGEN).astype(jnp.uint32)) - 1
    seats = ROW >> 1 & ~(ROW >> 1 + jnp.maximum(state.aboard, 0).astype(jnp.uint32))
    planes = [
        jnp.where(rows == state.y, front, 0),
        jnp.where(rows == state.y, back, 0),
        _rows(state.bullets, bullets),
        trail_rows,
        (state.enemy_bullets | state.enemy_bullets >> HALF) & ROW,
        enemy_rows & ROW,
        enemy_rows >> HALF,
        jnp.where(rows == 9, air, 0),
        jnp.where(rows == 9, seats, 0),
        _rows(state.divers, divers),
    ]
    bits = jnp.stack(planes, axis=-1)[:, None, :] >> jnp.arange(SIZE, dtype=jnp.uint32)[:, None]
    return (bits & 1).astype(bool)
