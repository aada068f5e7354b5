"""A search with the environment itself: it needs no training, and averages over chance."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.actors.planning import playouts, true_model
from rljax.envs import autoreset, probes, spaces
from rljax.envs.action_masks import observed
from rljax.envs.grid_world import GridWorld
from rljax.envs.states import WithState
from rljax.envs.teams import as_team
from rljax.errors import UsageError
from rljax.types import MaskedObs, StateObs

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Gamble:
    """One step: action 0 pays 0.6, and action 1 pays 1 with probability 0.4, else 0."""

    name: str = "Gamble"
    observation_space = spaces.Box(0.0, 1.0, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, key):
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, key, state, action):
        luck = jax.random.bernoulli(key, 0.4).astype(jnp.float32)
        return state, state, jnp.where(action == 0, 0.6, luck), True, False


@pytest.mark.parametrize("search", ["puct", pytest.param("gumbel", marks=pytest.mark.long)])
def test_what_is_good_on_average_is_preferred_to_luck(search):
    def takes_the_gamble(samples):
        sizes = {"num_simulations": 8, "playout_steps": 1, "num_envs": 200}
        agent = rljax.mcts(Gamble(), search=search, samples=samples, **sizes)
        state = agent.init(KEY)
        action, _ = jax.jit(partial(agent.act, key=None))(
            state, state.worker.obs, agent.initial_carry((200,))
        )
        return float(action.mean())

    assert takes_the_gamble(64) < 0.1
    assert takes_the_gamble(1) > 0.25  # a model that is asked once for each edge shows luck


def test_copies_that_ended_are_paid_nothing_and_count_as_worth_nothing():
    grid = WithState(GridWorld("S.G", step_reward=-1.0, limit=9))
    estimate = playouts(grid, 1, 1.0)
    root, model = true_model(grid, estimate, 0.5, samples=3)
    obs = jax.tree.map(lambda x: x[None], autoreset.reset(grid, KEY)[1])
    here = root((), KEY, obs).state
    rewards = []
    for _ in range(3):
        reward, discount, node = model((), KEY, jnp.array([1]), here)
        here = node.state
        rewards.append((float(reward[0]), float(discount[0]), float(node.value[0])))
    goal = float(autoreset.step(grid, KEY, grid.reset(KEY)[0]._replace(position=1), 1)[2])
    assert rewards[0][:2] == (-1.0, 0.5) and rewards[1:] == [(goal, 0.0, 0.0), (0.0, 0.0, 0.0)]


def test_playouts_end_with_the_episode_and_change_sides_in_games():
    game = WithState(rljax.make("TicTacToeGame"))
    # x has two lines to finish with either of the two cells left; it is the turn of o, or of x.
    board = np.zeros((3, 3, 2), bool)
    for cell in (0, 1, 5):
        board[cell // 3, cell % 3, 0] = True
    for cell in (3, 4, 8):
        board[cell // 3, cell % 3, 1] = True
    for time, worth in ((6, [-1.0, 1.0]), (7, [-1.0, 1.0])):
        state = game.reset(KEY)[0]._replace(board=jnp.array(board), time=jnp.int32(time))
        obs = StateObs(game.env._seen(state), state)
        seen = MaskedObs(obs, game.action_mask(state))
        many = jax.tree.map(lambda x: jnp.broadcast_to(x, (300, *x.shape)), (state, seen))
        _, values = playouts(game, 9, 1.0)((), KEY, *many, jnp.zeros(300, bool))
        assert set(np.unique(values)) <= {-1.0, 0.0, 1.0} and {*worth} <= set(np.unique(values))


@pytest.mark.long
@pytest.mark.parametrize("name", ["CartPole-v1", "GridWorld10x10", "FrozenLake4x4"])
def test_environments_are_searched_without_training(name):
    env = rljax.make(name)
    agent = rljax.mcts(env, num_simulations=16, playout_steps=20, num_envs=2, rollout_length=2)
    state, metrics = jax.jit(agent.step)(jax.jit(agent.init)(KEY))
    assert int(state.iteration) == 1 and jax.tree.leaves(state.learner.params) == []
    found = rljax.evaluate(agent, state, KEY, 4, max_steps=60)
    assert found.lengths.max() <= 60
    if name == "CartPole-v1":
        assert found.returns.min() > 40


def test_a_value_function_takes_the_place_of_playouts():
    grid = GridWorld("S...G", step_reward=0.0, limit=50)

    def nearer(obs):
        return 0.1 * observed(obs).astype(jnp.float32)

    agent = rljax.mcts(grid, num_simulations=16, leaf_value=nearer, max_depth=2, num_envs=1)
    state = agent.init(KEY)
    assert rljax.evaluate(agent, state, KEY, 2, max_steps=6).lengths.max() == 4


@dataclass(frozen=True)
class Wordy(Gamble):
    def reset(self, key):
        return {"said": "hello"}, jnp.zeros(1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: rljax.mcts(Gamble(), num_simulations=0), "num_simulations must be a whole number"),
        (lambda: rljax.mcts(Gamble(), search="alpha-beta"), "search 'alpha-beta' is not known"),
        (lambda: rljax.mcts(Wordy()), "state of Gamble, which must be a pytree of arrays"),
        (lambda: rljax.mcts(rljax.make("Pendulum-v1")), "tries each action of a Discrete space"),
        (lambda: rljax.mcts(as_team(probes.LegalActions())), "mcts trains one agent, and"),
    ],
)
def test_what_cannot_be_searched_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_search_is_told_states_and_refuses_observations_without():
    agent = rljax.mcts(Gamble(), num_simulations=1)
    with pytest.raises(UsageError, match="which these observations do not carry"):
        agent.act(agent.init(KEY), jnp.zeros((1, 1)), agent.initial_carry((1,)), KEY)
