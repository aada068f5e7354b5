"""A search with the environment itself: it needs no training, and averages over chance."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pages
import pytest

import rljax
from rljax.actors.planning import planning_actor, playouts, true_model
from rljax.actors.tree_search import SearchHparams
from rljax.agents.mcts import searchable
from rljax.envs import autoreset, probes, spaces
from rljax.envs.action_masks import observed
from rljax.envs.board_games import BoardState
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


@pytest.mark.long
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


def test_of_the_first_steps_half_are_random_and_the_search_is_recorded():
    env = searchable(rljax.make("TicTacToeGame"), "this test")
    actor = planning_actor(
        env,
        lambda key: (),
        lambda hp: (
            lambda params, key, states, obs, ended: (
                jnp.zeros((*ended.shape, 9)).at[:, 4].set(5.0),
                jnp.zeros(ended.shape),
            )
        ),
        lambda hp: 1.0,
        num_simulations=2,
        kind="gumbel",
        random_steps=2,
    )
    _, obs = jax.vmap(lambda key: autoreset.reset(env, key))(jax.random.split(KEY, 900))
    act = jax.jit(actor.policy(SearchHparams(gumbel_scale=0.0), jnp.float32(0)))
    first, recorded, carry = act((), obs, jnp.ones(900, jnp.int32), KEY)
    third, _, _ = act((), obs, carry, KEY)
    assert (third == 4).all() and (jnp.argmax(recorded["search_policy"], axis=-1) == 4).all()
    counts = np.bincount(first, minlength=9)
    assert abs(counts[4] - 500) < 75  # five standard deviations
    assert (np.abs(np.delete(counts, 4) - 50) < 35).all()


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


LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def worth(cells: str, mover: str) -> float:
    """What a game of tic-tac-toe by random moves is worth to who is to move, on average."""
    values = []
    for cell in (i for i in range(9) if cells[i] == "."):
        after = cells[:cell] + mover + cells[cell + 1 :]
        won = any(all(after[c] == mover for c in line) for line in LINES)
        over = won or "." not in after
        values.append(float(won) if over else -worth(after, "o" if mover == "x" else "x"))
    return float(np.mean(values))


@pytest.mark.parametrize(("cells", "mover"), [("xx.oox..o", "x"), ("xx.oox...", "o")])
def test_playouts_end_with_the_episode_and_change_sides_in_games(cells, mover):
    game = WithState(rljax.make("TicTacToeGame"))
    board = np.array([[cell == "x", cell == "o"] for cell in cells]).T.reshape(2, 3, 3)
    state = BoardState(jnp.array(board.transpose(1, 2, 0)), jnp.int32(9 - cells.count(".")))
    obs = MaskedObs(StateObs(game.env._seen(state), state), game.action_mask(state))
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (2000, *x.shape)), (state, obs))
    _, values = playouts(game, 9, 1.0)((), KEY, *many, jnp.zeros(2000, bool))
    assert set(np.unique(values)) <= {-1.0, 0.0, 1.0}
    assert abs(float(values.mean()) - worth(cells, mover)) < 0.06


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["CartPole-v1", "FrozenLake4x4", pytest.param("GridWorld10x10", marks=pytest.mark.slow)]
)
def test_environments_are_searched_without_training(name):
    env = rljax.make(name)
    agent = rljax.mcts(env, num_simulations=16, playout_steps=20, num_envs=2, rollout_length=2)
    state, metrics = jax.jit(agent.step)(jax.jit(agent.init)(KEY))
    assert int(state.iteration) == 1 and jax.tree.leaves(state.learner.params) == []
    found = rljax.evaluate(agent, state, KEY, 4, max_steps=60)
    assert found.lengths.max() <= 60
    if name == "CartPole-v1":
        assert found.returns.min() > 40


@pytest.mark.long
def test_the_code_of_the_page_plays():
    built = {}
    for code in pages.code(pages.ROOT / "docs" / "agents" / "mcts.md"):
        exec(code, built)
    assert built["found"].returns.min() == 20


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


@pytest.mark.long
def test_it_is_run_and_evaluated_as_agents_that_learn_are():
    lake = rljax.make("FrozenLake4x4")
    agent = rljax.mcts(lake, num_simulations=2, playout_steps=2, num_envs=2, total_env_steps=8)
    state, history = rljax.train(agent, jax.random.key(0))
    assert int(state.iteration) == 4 and len(history["charts/episodes"]) == 4
    assert rljax.evaluate(agent, state, jax.random.key(1), 2).returns.shape == (2,)
