"""Full episodes under a fixed policy."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax import _cpu
from rljax.actors.rollouts import behind
from rljax.envs import autoreset
from rljax.envs.action_masks import legal_actions
from rljax.envs.agents import agent_axis, joint_return, team_returns
from rljax.envs.simulators import on_host
from rljax.errors import NonFiniteError, check_positive
from rljax.parallel import processes
from rljax.statistics import central, interquartile_mean, interval, mean
from rljax.training import faults, host_evaluation
from rljax.types import Agent, HasActionMask, HasGoal, Key, Obs, State


class Evaluation(NamedTuple):
    """Results of full episodes, the first of each environment; a population leads with [P]."""

    returns: jax.Array  # [num_episodes] float32, undiscounted
    lengths: jax.Array  # [num_episodes] int32, steps
    finished: jax.Array  # [num_episodes] bool; False where `max_steps` cut an episode off
    succeeded: jax.Array | None = None
    """[num_episodes] bool, whether it ended at its goal; None where an environment has none."""
    agent_returns: jax.Array | None = None
    """[num_episodes, M] float32, of several agents; `returns` are those by which the environment is
    judged (see `envs.agents.joint_return`). None for one agent."""
    team_returns: jax.Array | None = None
    """[num_episodes, K] float32, of the teams of several agents; None for one agent."""

    def summary(self, training_env_steps: int | None = None) -> dict:
        """What the episodes came to, as plain Python numbers.

        Of one agent: the `mean` and `std` of its returns. Of a population the unit is the member,
        a seed as a rule, which is worth the mean of its own returns: `mean`, `iqm` (interquartile
        mean) and `worst` of those, with 5 members or more the 95% `interval` of
        `rljax.statistics.central`, and in `seeds` mean and std of each. There is no interquartile
        mean of episodes: it leaves out the failures of an agent that fails one time in four.

        Where the environment has a goal (see `rljax.types.HasGoal`), `success_rate` is the fraction
        of episodes that reached it, also of each seed. Of several agents there are the means
        `agents` and `teams`, in the order of `env.agents` and `env.teams`. `episodes`,
        `evaluation_env_steps` (taken by them) and `returns` are of all; `unfinished` is there if
        `max_steps` cut some off.

        Args:
            training_env_steps: those behind the parameters of each seed, to be told along.
        """
        returns = np.asarray(self.returns, np.float64)
        succeeded = None if self.succeeded is None else np.asarray(self.succeeded)
        summary: dict[str, Any] = _of_one(returns, succeeded)
        if returns.ndim > 1:
            members = list(np.ndindex(returns.shape[:-1]))
            seeds = [
                _of_one(returns[p], None if succeeded is None else succeeded[p]) for p in members
            ]
            del summary["std"]
            summary |= _over_seeds(np.array([[seed["mean"]] for seed in seeds]))
            summary["seeds"] = seeds
        for name in ("agents", "teams"):
            if (of_each := getattr(self, f"{name[:-1]}_returns")) is not None:
                of_each = np.asarray(of_each, np.float64)
                summary[name] = of_each.reshape(-1, of_each.shape[-1]).mean(0).tolist()
        summary["episodes"] = returns.size
        if training_env_steps is not None:
            summary["training_env_steps"] = training_env_steps
        summary["evaluation_env_steps"] = int(np.sum(self.lengths))
        summary["returns"] = returns.tolist()
        if not np.all(self.finished):
            summary["unfinished"] = int(np.sum(~np.asarray(self.finished)))
        return summary


def _of_one(returns: np.ndarray, succeeded: np.ndarray | None) -> dict[str, float]:
    success = {} if succeeded is None else {"success_rate": float(succeeded.mean())}
    return {"mean": float(returns.mean()), "std": float(returns.std()), **success}


def _over_seeds(scores: np.ndarray) -> dict[str, Any]:
    """Statistics of scores [N, 1]."""
    found = {"mean": float(mean(scores)), "iqm": float(interquartile_mean(scores))}
    found["worst"] = float(scores.min())
    bounds = interval(central, scores)
    return found if bounds is None else {**found, "interval": [float(b) for b in bounds]}


def evaluate(
    agent: Agent,
    state: State,
    key: Key,
    num_episodes: int = 64,
    deterministic: bool = True,
    max_steps: int = 27_000,
) -> Evaluation:
    """Play full episodes, each in an environment of its own; consumes the key.

    A fixed number of whole episodes has no bias towards short ones, which a mean over the episodes
    that happen to finish in a window of training has. In a simulator of the host, returns are of
    its score, and an episode is a whole game.

    Args:
        agent: the agent, or a population of them.
        state: its state, of which the parameters are used, frozen.
        num_episodes: how many, per member of a population.
        deterministic: greedy actions, or the policy's modes; else samples.
        max_steps: where an episode that does not end is cut off.

    Returns an `Evaluation` of [num_episodes], or [P, num_episodes] for a population.

    Raises NonFiniteError where the environment's mask has no legal action, as training does.
    """
    check_positive(num_episodes=num_episodes, max_steps=max_steps)
    return episodes(agent, num_episodes, deterministic, max_steps)(state, key)


def episodes(agent: Agent, num_episodes: int, deterministic: bool = True, max_steps: int = 27_000):
    """The compiled function `(state, key) -> Evaluation` behind `evaluate`, to call many times."""
    if on_host(agent.env):
        on_the_host = host_evaluation.episodes(agent, num_episodes, deterministic, max_steps)
        return lambda state, key: Evaluation(*map(jnp.asarray, on_the_host(_acting(state), key)))

    agents = agent_axis(agent.env)
    goal = agent.env.success if isinstance(agent.env, HasGoal) else None

    def play(state: State, key: Key) -> Evaluation:
        played, is_stuck = run(_acting(state), key)
        if isinstance(agent.env, HasActionMask) and is_stuck:
            what = faults.cause("faults/no_legal_action", agent.env.name)
            raise NonFiniteError(f"{what} in an evaluation")
        return played

    @jax.jit
    @_cpu.unrolled
    def run(state: State, key: Key) -> tuple[Evaluation, jax.Array]:
        members = state.iteration.shape  # () or [P]
        shape = (*members, num_episodes)
        reset = _batched(partial(autoreset.reset, agent.env), len(shape))
        step = _batched(partial(autoreset.step, agent.env), len(shape))
        success = goal and _batched(goal, len(shape))

        def unfinished(loop):
            *_, evaluation, is_stuck, _ = loop
            short = jnp.max(evaluation.lengths) < max_steps
            return ~jnp.all(evaluation.finished) & short & ~is_stuck

        def advance(loop):
            env_state, obs, carry, so_far, is_stuck, key = loop
            nothing_legal = _no_legal_action(obs)
            is_stuck |= jnp.any(~behind(so_far.finished, nothing_legal) & nothing_legal)
            key, key_act, key_env = jax.random.split(key, 3)
            key_act = None if deterministic else jax.random.split(key_act, members)
            action, carry = agent.act(state, obs, carry, key_act)
            env_state, obs, reward, terminated, truncated = step(
                jax.random.split(key_env, shape), env_state, action
            )
            ends = ~so_far.finished & (terminated | truncated)
            over = behind(so_far.finished, reward)
            so_far = Evaluation(
                returns=so_far.returns + jnp.where(over, 0.0, reward),
                lengths=so_far.lengths + ~so_far.finished,
                finished=so_far.finished | ends,
                succeeded=success and (so_far.succeeded | ends & success(env_state)),
            )
            return env_state, obs, carry, so_far, is_stuck, key

        key, key_reset = jax.random.split(key)
        none = jnp.zeros(shape, bool)
        nothing = Evaluation(
            returns=jnp.zeros((*shape, *agents), jnp.float32),
            lengths=jnp.zeros(shape, jnp.int32),
            finished=none,
            succeeded=success and none,
        )
        start = (
            *reset(jax.random.split(key_reset, shape)),
            agent.initial_carry(shape),
            nothing,
            jnp.bool_(False),
            key,
        )
        *_, found, is_stuck, _ = jax.lax.while_loop(unfinished, advance, start)
        if agents:
            found = found._replace(
                returns=joint_return(agent.env, found.returns),
                agent_returns=found.returns,
                team_returns=team_returns(agent.env, found.returns),
            )
        return found, is_stuck

    return play


def _acting(state: State) -> State:
    """What actions depend on: experience plays no part, and one of equal replicas is enough."""
    return processes.one_replica(replace(state, worker=None))  # type: ignore[arg-type]


def _no_legal_action(obs: Obs) -> jax.Array:
    """Where a mask allows nothing; nowhere without a mask."""
    legal = legal_actions(obs)
    return jnp.bool_(False) if legal is None else ~jnp.any(legal, axis=-1)


def _batched(function, axes: int):
    for _ in range(axes):
        function = jax.vmap(function)
    return function
