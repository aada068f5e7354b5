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

    Raises UsageError for an environment written in JAX, and for counts and names that do not fit.
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
    check_divides("num_envs", shapes(agent).worker.episode_length.shape[0], "actors", actors)
    return agent._replace(actors=HostActors(actors, driver, ray_address, timeout, max_lag))


def shapes(agent: Agent) -> Any:
    """The state of an agent, as shapes."""
    return jax.eval_shape(agent.init, jax.random.key(0))
