"""How an agent is told who steps its simulator."""

from typing import Any

import jax

from rljax.envs.simulators import on_host
from rljax.errors import UsageError, check_divides, check_known, check_positive
from rljax.types import Agent, HostActors

DRIVERS = ("threads", "ray")


def distribute(
    agent: Agent,
    actors: int = 1,
    driver: str = "threads",
    *,
    ray_address: str | None = None,
    timeout: float = 60.0,
    max_lag: int = 4,
    parameter_server: bool | None = None,
) -> Agent:
    """The agent, whose simulator is stepped by so many actors, each with a share of the N.

    Args:
        agent: an agent of a simulator of the host, such as `rljax.make("gymnasium/CartPole-v1")`.
        actors: how many; they divide N.
        driver: "threads" of this process, for simulators that release the interpreter's lock; or
            "ray", for processes, also on other machines.
        ray_address: of a running Ray cluster; by default one is started on this machine.
        timeout: seconds without a batch after which an actor counts as hung and is replaced.
        max_lag: how many iterations older than the newest the parameters that acted may be, at
            most; for agents that correct for it, such as IMPALA. Those of Ape-X are one iteration
            older, whatever it is. Others never lag.
        parameter_server: whether each actor computes gradients, or changes of a table, and sends
            those and no experience; by default for A3C alone. They are applied as they come, and
            one iteration is as many as there are actors.

    Raises UsageError for an environment written in JAX, for counts and names that do not fit, and
    for a parameter server of an agent whose learning has no part that an actor could do.
    """
    if not on_host(agent.env):
        raise UsageError(
            f"{agent.env.name} is stepped by the program that learns, so it has no actors: spread "
            "it over devices with rljax.pmap"
        )
    check_positive(actors=actors, max_lag=max_lag)
    check_known("driver", driver, DRIVERS)
    if ray_address is not None and driver != "ray":
        raise UsageError('ray_address is for Ray: write driver = "ray", too')
    worker = shapes(agent).worker
    check_divides("num_envs", worker.episode_length.shape[0], "actors", actors)
    if parameter_server is None:
        parameter_server = agent.actors is not None and agent.actors.parameter_server
    if parameter_server:
        check_serves(agent)
    in_any_order = agent.may_lag and agent.remember is None and actors > 1
    if in_any_order and jax.tree.leaves(worker.update_state):
        raise UsageError(
            "batches of several actors that run ahead come in any order, and an update that keeps "
            "a state of each environment, such as reward_scaling, needs theirs: make actors 1, or "
            "first an update of updates.stateless"
        )
    settings = HostActors(actors, driver, ray_address, timeout, max_lag, parameter_server)
    return agent._replace(actors=settings)


def check_serves(agent: Agent) -> None:
    """Refuse an agent that no parameter server can train."""
    if agent.contribute is None:
        raise UsageError(
            "a parameter server needs an agent that learns by one step on each rollout, such as "
            "a3c, q_learning, or pqn with num_epochs = 1 and num_minibatches = 1, and with a first "
            "update, if any, of updates.stateless"
        )
    if agent.placement is not None:
        raise UsageError(
            "with a parameter server, actors compute gradients, so there is no learner to spread: "
            "train without rljax.pmap"
        )


def shapes(agent: Agent) -> Any:
    """The state of an agent, as shapes."""
    return jax.eval_shape(agent.init, jax.random.key(0))
