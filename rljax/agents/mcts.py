"""Monte Carlo tree search (Kocsis and Szepesvari 2006, https://doi.org/10.1007/11871842_29).

It learns nothing: before each action it looks ahead with the environment's own step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rljax.actors.planning import Estimate, planning_actor, playouts
from rljax.actors.tree_search import SearchHparams, check_search
from rljax.agents.assembly import check_hparams, on_policy
from rljax.agents.schedule import Schedule
from rljax.envs import spaces
from rljax.envs.agents import check_one_agent
from rljax.envs.opponents import Against
from rljax.envs.simulators import on_host
from rljax.envs.states import WithState, with_state
from rljax.errors import UsageError, check_positive
from rljax.hparams import fraction, positive
from rljax.types import Agent, Environment, Obs, TwoPlayerGame, Update
from rljax.updates import chain


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams(SearchHparams):
    """The hyperparameters of MCTS: traced, so a sweep compiles once."""

    puct: float = positive(4.0)
    """Of "puct": how much few visits speak for an action; more than beside a learnt prior."""
    gamma: float = fraction(0.99)
    """Discount per step."""


def mcts(
    env: Environment,
    *,
    num_simulations: int = 32,
    search: str = "puct",
    samples: int = 1,
    playout_steps: int = 50,
    leaf_value: Callable[[Obs], jax.Array] | None = None,
    max_depth: int | None = None,
    num_envs: int = 1,
    rollout_length: int = 1,
    total_env_steps: int = 1_000,
    schedule_env_steps: int | None = None,
    first: Update | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """Looks ahead before each action, and needs no training: what it does is known when it is made.

    In a game of two players it plays both, and is evaluated against a player who moves at random.

    Args:
        env: from `rljax.make`, or any object with the members of `rljax.types.Environment` and
            Discrete actions.
        num_simulations: nodes that are added to the tree before each action.
        search: "puct", or "gumbel".
        samples: copies of the state in each node, for a stochastic environment: their mean counts.
        playout_steps: steps at most of the random episodes that value the leaves.
        leaf_value: values the leaves instead: a function from observations [M, ...] to values [M],
            such as those of a trained network.
        max_depth: how many steps to look ahead, at most; None for no bound.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each in an iteration.
        total_env_steps: how long a run is; rounded up to whole iterations.
        schedule_env_steps: without effect: nothing changes over time.
        first: an update of your own, which is given every rollout; there are no others.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for spaces, names and counts that do not fit, a simulator of the host, and a
            state that is not a pytree of arrays, in one sentence.
    """
    hparams = check_hparams(hparams, Hparams, "mcts")
    check_search(search, num_simulations)
    check_positive(samples=samples, playout_steps=playout_steps)
    searched = searchable(env, "mcts")

    def estimate(hp: Hparams) -> Estimate:
        if leaf_value is None:
            return playouts(searched, playout_steps, hp.gamma)
        value = leaf_value

        def by_function(params, key, states, obs, ended):
            return jnp.zeros((*ended.shape, searched.action_space.n)), value(obs)

        return by_function

    agent = on_policy(
        searched,
        actor=planning_actor(
            searched,
            lambda key: (),
            estimate,
            lambda hp: hp.gamma,
            num_simulations=num_simulations,
            kind=search,
            samples=samples,
            max_depth=max_depth,
        ),
        update=lambda hp, progress: chain(first),
        hparams=hparams,
        schedule=Schedule(
            num_envs=num_envs,
            rollout_length=rollout_length,
            total_env_steps=total_env_steps,
            schedule_env_steps=schedule_env_steps,
        ),
    )
    return agent._replace(env=evaluated(searched))


def searchable(env: Environment, agent: str) -> WithState:
    """`env`, whose observations carry its state; UsageError where nobody can look ahead in it."""
    if on_host(env):
        raise UsageError(
            f"{agent} looks ahead with copies of the environment, and {env.name} is a simulator "
            "of the host: use an environment in JAX, or muzero, which learns a model"
        )
    check_one_agent(env, agent)
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.shape:
        raise UsageError(
            f"{agent} tries each action of a Discrete space, and those of {env.name} are "
            f"{spaces.describe(env.action_space)}: use sac, td3 or ppo"
        )
    return with_state(env, agent)


def evaluated(env: WithState) -> Environment:
    """Where an agent is evaluated: a game of two players against one who moves at random."""
    return Against(env) if isinstance(env, TwoPlayerGame) else env


mcts.Hparams = Hparams  # type: ignore[attr-defined]
