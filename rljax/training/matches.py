"""Games of two players between an agent and an opponent, each of whom begins in half of them."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax.actors.planning import planning_actor, playouts
from rljax.actors.tree_search import SearchHparams, check_search
from rljax.actors.versions import POOL
from rljax.envs.action_masks import legal_actions, observed
from rljax.envs.opponents import Against, Opponent, game_of, random_move
from rljax.envs.perfect_play import perfect_move
from rljax.envs.states import WithState, without_state
from rljax.errors import UsageError, check_divides, check_known, check_positive
from rljax.training.evaluation import evaluate
from rljax.types import Action, Agent, EnvState, Key, MaskedObs, Obs, Params, State, StateObs

OPPONENTS = ("perfect", "random", "mcts")
"""Who plays best, who takes any legal action, and who searches with random playouts."""


class Tally(NamedTuple):
    """How games ended, for the agent."""

    wins: int
    draws: int
    losses: int


class Match(NamedTuple):
    """How games ended, apart by who moved first."""

    first: Tally
    """Of games in which the agent moved first."""
    second: Tally

    def summary(self) -> dict[str, Any]:
        """The sums, and what they are of, as plain Python numbers."""
        total = Tally(*map(sum, zip(self.first, self.second, strict=True)))
        return {
            **total._asdict(),
            "episodes": sum(total),
            "first": self.first._asdict(),
            "second": self.second._asdict(),
        }


def match(
    agent: Agent,
    state: State,
    key: Key,
    against: str | Opponent,
    num_games: int = 200,
    deterministic: bool = True,
    num_simulations: int = 32,
) -> Match:
    """Play games with an opponent; consumes the key.

    Args:
        agent: an agent of a game of two players, or a population of them.
        state: its state, of which the parameters are used.
        against: one of `OPPONENTS`, or an `envs.opponents.Opponent`.
        num_games: how many, per member of a population; an even number.
        deterministic: whether the agent takes the best actions; else it explores.
        num_simulations: those of "mcts" before each move.

    Raises UsageError for an agent of anything else, and an opponent that the game does not have.
    """
    ends = outcomes(agent, state, key, against, num_games, deterministic, num_simulations)
    return Match(*(Tally(*(int(np.sum(of == end)) for end in (1, 0, -1))) for of in ends))


def outcomes(
    agent: Agent,
    state: State,
    key: Key,
    against: str | Opponent,
    num_games: int = 200,
    deterministic: bool = True,
    num_simulations: int = 32,
) -> np.ndarray:
    """How the games of a `match` ended, [2, num_games / 2]; of a population [2, P, num_games / 2].

    1 is a win of the agent, 0 a draw and -1 a loss. In the games of row 0 the agent moved first.
    Arguments and errors are those of `match`.
    """
    check_positive(num_games=num_games)
    check_divides("episodes", num_games, "the players who begin", 2)
    game = game_of(agent.env, "a match")
    if not isinstance(agent.env, Against):
        raise UsageError(f"a match is of agents of games, such as alphazero, not of {game.name}")
    other = opponent(against, game, num_simulations) if isinstance(against, str) else against
    returns = []
    for begins, k in zip((True, False), jax.random.split(key), strict=True):
        playing = agent._replace(env=Against(game, other, begins))
        returns.append(evaluate(playing, state, k, num_games // 2, deterministic).returns)
    return np.sign(np.stack(returns))


def opponent(name: str, game: Any, num_simulations: int = 32) -> Opponent:
    """The opponent of that name in a game.

    Raises UsageError for a name that is not known, and for perfect play of a large game.
    """
    check_known("opponent", name, OPPONENTS)
    if name == "random":
        return random_move
    if name == "perfect":
        return perfect_move(game)
    return searching_move(game, num_simulations)


def move_of(agent: Agent, state: State, game: Any, deterministic: bool = True) -> Opponent:
    """Who plays as an agent without a memory does, such as an earlier self of the other player.

    Args:
        agent, state: of the same game, not a population.
        game: what is played.
        deterministic: whether it takes its best moves; else it explores. Of two deterministic
            players, all games with the same one first are alike.

    Raises UsageError for an agent of another game, and a population.
    """
    theirs = game_of(agent.env, "an opponent")
    if theirs.name != game.name:
        raise UsageError(f"who has learnt {theirs.name} cannot play {game.name}")
    if agent.population_axes:
        raise UsageError("an opponent is one agent, not a population: give one of its members")

    def move(key: Key, state_of_game: EnvState, obs: Obs) -> Action:
        seen = _with_state(obs, state_of_game) if isinstance(theirs, WithState) else obs
        one = jax.tree.map(lambda x: x[None], seen)
        acting = None if deterministic else key
        return agent.act(state, one, agent.initial_carry((1,)), acting)[0][0]

    return move


def earlier_selves(state: State) -> list[State]:
    """The opponents that an agent of self-play holds, each as a state with which it acts.

    The oldest one is the first. None for an agent that holds none.
    """
    params = state.learner.params
    if not isinstance(params, dict) or POOL not in params:
        return []
    versions = params[POOL]
    number = len(jax.tree.leaves(versions)[0])
    return [_acting_with(state, jax.tree.map(lambda x, k=k: x[k], versions)) for k in range(number)]


def _acting_with(state: State, online: Params) -> State:
    params = {**state.learner.params, "online": online}
    return replace(state, learner=replace(state.learner, params=params))


def _with_state(obs: Obs, state: EnvState) -> MaskedObs:
    """An observation of one game that carries its state, whether it did or not."""
    return MaskedObs(StateObs(observed(without_state(obs)), state), legal_actions(obs))  # type: ignore[arg-type]


def searching_move(game: Any, num_simulations: int) -> Opponent:
    """Who looks ahead with random playouts to the end of the game, and takes the best move found.

    Ties are broken by chance.
    """
    check_search("puct", num_simulations)
    game = game if isinstance(game, WithState) else WithState(game)
    # Longer than any game: playouts stop where it ends.
    steps = int(np.prod(game.observation_space.shape))
    actor = planning_actor(
        game,
        lambda key: (),
        lambda hp: playouts(game, steps, 1.0),
        lambda hp: 1.0,
        num_simulations=num_simulations,
        kind="puct",
    )
    hparams = SearchHparams(puct=4.0, dirichlet_fraction=0.0, temperature=0.0)
    act = actor.policy(hparams, jnp.float32(0))

    def move(key: Key, state: EnvState, obs: Obs) -> Action:
        one = jax.tree.map(lambda x: x[None], _with_state(obs, state))
        return act((), one, actor.initial_carry((1,)), key)[0][0]

    return move
