"""Foraging is that of lbforaging, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.envs.foraging import LOAD, UNSEEN, Foraging, ForagingState
from rljax.errors import UsageError
from rljax.types import HasCostlyReset


def reference(env):
    """lbforaging's environment with the parameters of ours."""
    lbforaging = pytest.importorskip("lbforaging.foraging")
    return lbforaging.ForagingEnv(
        players=env.players,
        min_player_level=1,
        max_player_level=2,
        min_food_level=1,
        max_food_level=None,
        field_size=(env.size, env.size),
        max_num_food=env.food,
        sight=env.sight or env.size,
        max_episode_steps=env.limit,
        force_coop=env.coop,
    )


def state_of(other) -> ForagingState:
    """Our state of theirs, NumPy; food that was not spawned has level 0."""
    places = np.argwhere(other.field)
    food = np.zeros((other.max_num_food, 3), np.int32)
    food[: len(places)] = np.column_stack([places, other.field[tuple(places.T)]])
    players = np.array([[*p.position, p.level] for p in other.players], np.int32)
    return ForagingState(players, food, np.int32(other.field.sum()), np.int32(0))


def mask_of(other) -> np.ndarray:
    mask = np.zeros((len(other.players), 6), bool)
    for i, player in enumerate(other.players):
        mask[i, [action.value for action in other._valid_actions[player]]] = True
    return mask


def episodes(env, number):
    """Episodes of theirs under random joint actions: the first states, and what was seen, [E, T].

    What follows an end is filled with zeros.
    """
    rng, other = np.random.default_rng(0), reference(env)
    first, seen = [], []
    for episode in range(number):
        obs, _ = other.reset(seed=episode)
        first.append((state_of(other), np.array(obs), mask_of(other)))
        steps = []
        for _ in range(env.limit):
            action = rng.integers(0, 6, env.players)  # also illegal ones
            eager = mask_of(other)[:, LOAD] & (rng.random(env.players) < 0.9)
            action[eager] = LOAD
            obs, reward, over, _, _ = other.step(action)
            places = np.array([p.position for p in other.players])
            steps.append((action, np.array(obs), reward, over, mask_of(other), places))
            if over:
                break
        steps += [tuple(np.zeros_like(x) for x in steps[-1])] * (env.limit - len(steps))
        seen.append(tuple(np.stack(column) for column in zip(*steps, strict=True)))
    return stacked(first), stacked(seen)


def stacked(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


WIDE = Foraging(8, 2, 3)
CROWDED = Foraging(5, 4, 2, limit=30)
BLIND = Foraging(6, 2, 2, coop=True, sight=2)
TABLE = [WIDE, *(pytest.param(env, marks=pytest.mark.long) for env in (CROWDED, BLIND))]


@pytest.mark.parametrize("env", TABLE, ids=lambda env: env.name)
def test_every_step_is_that_of_lbforaging(env):
    (states, obs, mask), seen = episodes(env, 40)
    action, next_obs, reward, over, next_mask, places = seen
    observe = jax.jit(jax.vmap(lambda state: (env._observe(state), env.action_mask(state))))
    ours = observe(states)
    assert (ours[0] == obs).all() and (ours[1] == mask).all()

    def one(state, action):
        state, obs, reward, *ends = env.step(jax.random.key(0), state, action)
        return state, (obs, reward, *ends, env.action_mask(state), state.players[:, :2])

    play = jax.jit(jax.vmap(lambda state, actions: jax.lax.scan(one, state, actions)[1]))
    ours_obs, ours_reward, terminated, truncated, ours_mask, ours_places = play(states, action)
    alive = np.cumsum(over, axis=1) - over == 0  # and the step that ended it
    assert (np.asarray(terminated | truncated) == over)[alive].all()
    assert (ours_obs == next_obs)[alive].all()
    assert np.asarray(ours_reward)[alive] == pytest.approx(reward[alive])
    assert (ours_mask == next_mask)[alive].all() and (ours_places == places)[alive].all()

    # All that the rules speak of happened.
    together = (reward > 0).sum(-1)
    assert (together == 1).any() or env.coop
    assert (together > 1).any() and np.asarray(terminated)[alive].any()
    total = np.where(np.asarray(terminated & alive).any(1), reward.sum((1, 2)), 1)
    assert total == pytest.approx(1.0)
    assert np.asarray(truncated)[alive].any() and (action == LOAD).any()
    if env is CROWDED:
        cells = np.sort(places @ [env.size, 1], axis=-1)
        assert (np.diff(cells[alive]) == 0).any()  # two on one cell, as their rules allow


@pytest.mark.long
@pytest.mark.parametrize("env", TABLE, ids=lambda env: env.name)
def test_food_and_players_are_placed_as_lbforaging_places_them(env):
    keys = jax.random.split(jax.random.key(0), 400)
    states, obs = jax.jit(jax.vmap(env.reset))(keys)
    food, players = np.asarray(states.food), np.asarray(states.players)
    number = food[..., 0] * env.size + food[..., 1]
    assert (np.diff(number) >= 0).all() and (states.spawned == food[..., 2].sum(1)).all()
    inner = np.where(food[..., 2:] > 0, food[..., :2], 1)
    assert inner.min() == 1 and inner.max() == env.size - 2
    for i in range(env.food):
        for j in range(i):
            far = ((food[:, i, :2] - food[:, j, :2]) ** 2).sum(-1) > 4
            assert (far | (food[:, i, 2] == 0)).all()
    everything = np.concatenate([players, food], axis=1)
    cells = everything[..., 0] * env.size + everything[..., 1]
    assert all(len(set(row)) == len(row) for row in cells.tolist())
    assert set(players[..., 2].flat) == {1, 2}
    assert np.bincount(cells[:, 0], minlength=env.size**2).min() > 0
    most = np.sort(players[..., 2])[:, :3].sum(1, keepdims=True)
    spawned = food[..., 2] > 0
    assert spawned.mean() > 0.9 and (food[..., 2] <= most).all()
    if env.coop:
        assert (food[..., 2] == most)[spawned].all()
    else:
        assert set(food[..., 2][spawned]) == set(range(1, most.max() + 1))
    assert obs.dtype == np.float32
    assert ((obs >= env.observation_space.low) & (obs <= env.observation_space.high)).all()


def test_the_global_state_is_all_there_is_in_one_order():
    players = jnp.array([[0, 1, 2], [3, 3, 1]])
    food = jnp.array([[1, 1, 0], [2, 3, 3], [4, 1, 1]])
    state = ForagingState(players, food, jnp.int32(5), jnp.int32(4))
    expected = [2, 3, 3, 4, 1, 1, *UNSEEN, 0, 1, 2, 3, 3, 1]
    read = jax.jit(lambda state: (WIDE.global_state(state), WIDE._observe(state)))
    told, obs = read(state)
    assert told.tolist() == expected
    assert WIDE.state_space.shape == (15,) and not WIDE.success(state)
    assert obs[0].tolist() == expected and obs[1, 9:].tolist() == [3, 3, 1, 0, 1, 2]


def test_names_say_the_parameters():
    assert rljax.make("Foraging8x8-2p-3f") == WIDE and WIDE.name == "Foraging8x8-2p-3f"
    assert BLIND.name == "Foraging6x6-2p-2f-coop-2s"
    assert WIDE.agents == ("player_0", "player_1") and WIDE.teams == ((0, 1),)
    assert not WIDE.shared_reward and isinstance(WIDE, HasCostlyReset)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"size": 4}, "Foraging4x4-2p-3f: size must be a whole number of at least 5"),
        ({"size": 5, "players": 26}, "there is no room for 26 players"),
        ({"food": 0}, "food must be a whole number of at least 1"),
        ({"sight": 0}, "sight must be a whole number of at least 1"),
    ],
)
def test_parameters_that_make_no_game_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        rljax.make("Foraging8x8-2p-3f", **wrong)
